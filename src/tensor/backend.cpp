#include "tensor/backend.h"

#include <dlfcn.h>

#include <array>

#include "base/error.h"
#include "base/log.h"

namespace primus {
namespace {

std::array<const Backend*, 3>& registered() {
  static std::array<const Backend*, 3> backends{};
  return backends;
}

/// A GPU back end is a shared object with one entry, `const primus::Backend* primus_backend()`. It is looked for in
/// LD_LIBRARY_PATH, beside the program and in ../lib (the program's run path).
const Backend* load(const char* library, const char* what) {
  void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw host_lacks("{} was asked for, but {} cannot be loaded: {}. Build it (docs/install.md) or use `device: cpu`.",
                     what, library, ::dlerror());
  }
  using Entry = const Backend* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(handle, "primus_backend"));
  if (entry == nullptr) throw host_lacks("{}: not a Primus device library: {}", library, ::dlerror());
  log::debug("{} loaded", library);
  return entry();
}

}  // namespace

const Backend& backend(DeviceType type) {
  const Backend*& slot = registered().at(static_cast<std::size_t>(type));
  if (slot == nullptr) {
    PRIMUS_CHECK(type != DeviceType::kCpu, "the CPU's operations are not linked in");
    slot = type == DeviceType::kCuda ? load("libprimus_cuda.so", "A CUDA device")
                                     : load("libprimus_hip.so", "A ROCm device");
  }
  return *slot;
}

void register_backend(const Backend& backend) { registered().at(static_cast<std::size_t>(backend.type)) = &backend; }

}  // namespace primus
