#pragma once

#include <cstddef>
#include <string>

#include "ops/gpu/runtime.h"

/// The devices of this host. All throw Error (kHostLacks) that says what is missing: the driver, a newer driver, a
/// device that the compiled kernels run on.
namespace primus::ops::gpu {

int device_count();
/// "NVIDIA H100 80GB HBM3, 79.1 GiB, compute capability 9.0"
std::string describe(int index);
/// "NVIDIA H100 80GB HBM3"
std::string device_name(int index);
std::size_t memory_total(int index);
/// What is free now, less what the runtime takes for its own code once kernels run.
std::size_t memory_free(int index);

/// Makes the device the current one. Throws when its kernels are not in this build.
void open_device(int index);
DeviceLimits query_limits(int index);

}  // namespace primus::ops::gpu
