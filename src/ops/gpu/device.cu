#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "ops/gpu/device.h"
#include "ops/gpu/device_errors.h"
#include "ops/gpu/stream_state.h"

namespace primus::ops::gpu {
namespace {

/// Code of libraries that the driver loads when it is first used: cuBLASLt and cuDNN kernels, and ours.
constexpr std::size_t kRuntimeBytes = std::size_t{512} << 20;

/// Loads only where the build has code for the device.
__global__ void probe() {}

Error driver_error() {
  int driver = 0, runtime = 0;
  gpuDriverGetVersion(&driver);
  gpuRuntimeGetVersion(&runtime);
  return no_usable_driver(driver, runtime);
}

gpuDeviceProp properties(int index) {
  gpuDeviceProp found{};
  GPU_CHECK(gpuGetDeviceProperties(&found, index));
  return found;
}

int attribute(gpuDeviceAttr_t which, int index) {
  int value = 0;
  GPU_CHECK(gpuDeviceGetAttribute(&value, which, index));
  return value;
}

}  // namespace

bool waits_for_every_launch() {
  static const bool waits = [] {
    const char* value = std::getenv("PRIMUS_GPU_SYNC");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return waits;
}

void fail(gpuError_t error, const char* what) {
  gpuGetLastError();  // an error that does not last must not be found again by the next check
  throw DeviceError(fmt::format(
      PRIMUS_GPU_PLATFORM
      ": {} failed: {}. The cause may be work put on the stream before it; PRIMUS_GPU_SYNC=1 waits for every "
      "operation and names the one",
      what, gpuGetErrorString(error)));
}

void check_launch(const Stream& stream, const char* what) {
  check(gpuGetLastError(), what);
  if (waits_for_every_launch()) check(gpuStreamSynchronize(state_of(stream).stream), what);
}

int device_count() {
  int count = 0;
  const gpuError_t error = gpuGetDeviceCount(&count);
  if (error == gpuErrorNoDevice) return 0;
  if (error == gpuErrorInsufficientDriver) throw driver_error();
  check(error, "gpuGetDeviceCount");
  return count;
}

std::string device_name(int index) { return properties(index).name; }

std::string describe(int index) {
  const gpuDeviceProp found = properties(index);
  return fmt::format("{}, {:.1f} GiB, compute capability {}.{}", found.name,
                     static_cast<double>(found.totalGlobalMem) / 0x1p30, found.major, found.minor);
}

std::size_t memory_total(int index) {
  GPU_CHECK(gpuSetDevice(index));
  std::size_t free = 0, total = 0;
  GPU_CHECK(gpuMemGetInfo(&free, &total));
  return total;
}

std::size_t memory_free(int index) {
  GPU_CHECK(gpuSetDevice(index));
  std::size_t free = 0, total = 0;
  GPU_CHECK(gpuMemGetInfo(&free, &total));
  return free > kRuntimeBytes ? free - kRuntimeBytes : 0;
}

void open_device(int index) {
  const int count = device_count();
  if (index >= count) throw no_such_gpu(index, count);
  GPU_CHECK(gpuSetDevice(index));
  gpuFuncAttributes attributes{};
  if (gpuFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&probe)) != gpuSuccess) {
    gpuGetLastError();
    throw no_kernels_for(index, describe(index), PRIMUS_GPU_ARCHITECTURES);
  }
}

DeviceLimits query_limits(int index) {
  return {.multiprocessors = attribute(gpuDevAttrMultiProcessorCount, index),
          .compute_capability = 10 * attribute(gpuDevAttrComputeCapabilityMajor, index) +
                                attribute(gpuDevAttrComputeCapabilityMinor, index),
          .shared_memory_per_block = static_cast<std::size_t>(attribute(gpuDevAttrMaxSharedMemoryPerBlock, index)),
          .l2_bytes = static_cast<std::size_t>(attribute(gpuDevAttrL2CacheSize, index))};
}

}  // namespace primus::ops::gpu
