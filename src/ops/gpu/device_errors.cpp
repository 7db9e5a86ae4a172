#include "ops/gpu/device_errors.h"

#include "ops/gpu/platform.h"

namespace primus::ops::gpu {
namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

Error no_usable_driver(int driver, int runtime) {
  if (driver == 0) {
    return host_lacks("this host has no " PRIMUS_GPU_PLATFORM
                      " driver (or a container was started without its devices): install it, or use `device: cpu`");
  }
  return host_lacks("the " PRIMUS_GPU_PLATFORM
                    " driver of this host serves version {} and this build needs {}: update the driver, or use "
                    "`device: cpu`",
                    version_text(driver), version_text(runtime));
}

Error no_such_gpu(int index, int count) { return host_lacks("there is no GPU {}: this process sees {}", index, count); }

Error no_kernels_for(int index, const std::string& device, std::string_view architectures) {
  return host_lacks(
      "GPU {} is a {}; this build has kernels for {}: build for it with -DCMAKE_CUDA_ARCHITECTURES, or use "
      "`device: cpu`",
      index, device, architectures);
}

}  // namespace primus::ops::gpu
