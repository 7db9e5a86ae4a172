// Notes which kernels a program launches: CUDA loads this library into any program that runs with
// CUDA_INJECTION64_PATH=libkernel_launches.so, and it writes their (mangled) names to the file $KERNEL_LAUNCHES, a line
// each. scripts/gpu_test.sh compares them with the kernels of libprimus_cuda.so.

#include <cupti.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <unordered_set>

namespace {

class Names {
 public:
  explicit Names(const char* path) : file_(path, std::ios::app) {}
  void add(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (known_.insert(name).second) file_ << name << std::endl;  // at once: programs end in many ways
  }

 private:
  std::mutex mutex_;
  std::ofstream file_;
  std::unordered_set<std::string> known_;
};

void on_launch(void* names, CUpti_CallbackDomain, CUpti_CallbackId, const void* data) {
  const auto& call = *static_cast<const CUpti_CallbackData*>(data);
  if (call.callbackSite == CUPTI_API_ENTER && call.symbolName != nullptr) {
    static_cast<Names*>(names)->add(call.symbolName);
  }
}

bool succeeded(CUptiResult result) {
  if (result == CUPTI_SUCCESS) return true;
  const char* text = "";
  cuptiGetResultString(result, &text);
  std::cerr << "kernel_launches: " << text << '\n';
  return false;
}

}  // namespace

/// What CUDA calls when it is initialised.
extern "C" int InitializeInjection() {
  const char* path = std::getenv("KERNEL_LAUNCHES");
  if (path == nullptr) return 0;
  static Names names(path);
  CUpti_SubscriberHandle subscriber = nullptr;
  if (!succeeded(cuptiSubscribe(&subscriber, on_launch, &names))) return 0;
  for (const CUpti_CallbackId call :
       {CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel_ptsz,
        CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx_ptsz}) {
    if (!succeeded(cuptiEnableCallback(1, subscriber, CUPTI_CB_DOMAIN_DRIVER_API, call))) return 0;
  }
  return 1;
}
