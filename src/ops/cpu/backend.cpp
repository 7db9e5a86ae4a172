#include "tensor/backend.h"

#include <omp.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/host_memory.h"
#include "base/log.h"
#include "ops/cpu/implementation.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu_backend.h"

namespace primus::ops::cpu {
namespace {

constexpr std::size_t kAlignment = 256;
/// From this size on, memory is mapped: the system hands out pages when they are first touched.
constexpr std::size_t kMapped = std::size_t{1} << 20;

int device_count() { return 1; }

std::string describe(int) {
  std::ifstream file("/proc/cpuinfo");
  std::string line, model = "CPU";
  while (std::getline(file, line)) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) model = line.substr(colon + 2);
      break;
    }
  }
  const int threads = omp_get_max_threads();
  return fmt::format("{}, {} {}, {}", model, threads, threads == 1 ? "thread" : "threads",
                     has_native_bf16() ? "avx512_bf16" : kernels().name);
}

std::size_t memory_total(int) { return host_memory().total; }

std::size_t memory_free(int) {
  const HostMemory memory = host_memory();
  static std::once_flag said;
  if (memory.free == HostMemory::kUnknown) {
    std::call_once(said, [] { log::info("memory: the system does not tell how much is free; no limit is assumed"); });
  } else if (memory.limited_by_group) {
    std::call_once(said, [&] {
      log::info("memory: {:.2f} GiB are free under the limit of this process's control group (a container's, a job's)",
                static_cast<double>(memory.free) / 0x1p30);
    });
  }
  return memory.free;
}

void* allocate(int, std::size_t bytes) {
  void* data = nullptr;
  if (bytes < kMapped) {
    data = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  } else {
    data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) data = nullptr;
    // fewer, larger pages: products read weights row by row, far apart. Where the system has none, nothing changes.
    if (data != nullptr) ::madvise(data, bytes, MADV_HUGEPAGE);
  }
  if (data == nullptr) {
    throw host_lacks("the CPU has not got {} bytes of memory: take a smaller batch or model", bytes);
  }
  return data;
}

void deallocate(int, void* data, std::size_t bytes) {
  if (bytes < kMapped) {
    std::free(data);
  } else {
    ::munmap(data, bytes);
  }
}

/// Everything has happened when a call returns, so a stream is nothing but an address and an event a moment.
struct CpuEvent {
  std::chrono::steady_clock::time_point at;
};
int the_stream = 0;

void* create_stream(int) { return &the_stream; }
void destroy_stream(int, void*) {}
void synchronize(int, void*) {}

void copy(int, void*, void* target, const void* source, std::size_t bytes) {
  if (bytes != 0) std::memmove(target, source, bytes);
}
void fill_zero(int, void*, void* target, std::size_t bytes) {
  if (bytes != 0) std::memset(target, 0, bytes);
}

void* stage(int, void*, std::size_t) { return nullptr; }
std::size_t workspace_bytes(int) { return 0; }
void lend_workspace(int, void*, void*, std::size_t) {}

void* create_event(int) { return new CpuEvent{std::chrono::steady_clock::now()}; }
void destroy_event(int, void* event) { delete static_cast<CpuEvent*>(event); }
void record_event(int, void*, void* event) { static_cast<CpuEvent*>(event)->at = std::chrono::steady_clock::now(); }
void wait_event(int, void*, void*) {}
double elapsed(int, void* from, void* to) {
  return std::chrono::duration<double>(static_cast<CpuEvent*>(to)->at - static_cast<CpuEvent*>(from)->at).count();
}

constexpr Table kTable = {
    .linear_forward = linear_forward,
    .linear_backward_input = linear_backward_input,
    .linear_backward_weight = linear_backward_weight,
    .bias_backward = bias_backward,
    .embedding_forward = embedding_forward,
    .embedding_backward = embedding_backward,
    .rms_norm_forward = rms_norm_forward,
    .rms_norm_backward = rms_norm_backward,
    .add = add,
    .rope_forward = rope_forward,
    .rope_backward = rope_backward,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_backward_sums = attention_backward_sums,
    .attention_backward_workspace = attention_backward_workspace,
    .attention_decode = attention_decode,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .linear_swiglu_forward = linear_swiglu_forward,
    .linear_swiglu_backward = linear_swiglu_backward,
    .swiglu_lora_backward = swiglu_lora_backward,
    .gather_rows = gather_rows,
    .scatter_rows = scatter_rows,
    .cross_entropy_forward = cross_entropy_forward,
    .cross_entropy_forward_backward = cross_entropy_forward_backward,
    .begin_step = begin_step,
    .add_loss = add_loss,
    .add_squared_norm = add_squared_norm,
    .decide_step = decide_step,
    .adamw = adamw,
    .convert = convert,
    .dropout = dropout,
};

constexpr Backend kBackend = {
    .type = DeviceType::kCpu,
    .device_count = device_count,
    .describe = describe,
    .memory_total = memory_total,
    .memory_free = memory_free,
    .allocate = allocate,
    .deallocate = deallocate,
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
    .synchronize = synchronize,
    .copy_to_device = copy,
    .copy_to_host = copy,
    .copy_on_device = copy,
    .fill_zero = fill_zero,
    .stage = stage,
    .allocate_pinned = allocate,
    .deallocate_pinned = deallocate,
    .copy_to_pinned = copy,
    .copy_from_pinned = copy,
    .workspace_bytes = workspace_bytes,
    .lend_workspace = lend_workspace,
    .create_event = create_event,
    .destroy_event = destroy_event,
    .record_event = record_event,
    .wait_event = wait_event,
    .elapsed = elapsed,
    .ops = &kTable,
};

}  // namespace
}  // namespace primus::ops::cpu

namespace primus::ops {

void use_cpu_backend() { register_backend(cpu::kBackend); }

}  // namespace primus::ops
