#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

/// What a user is told whose host has no GPU that this build can use, each one sentence with what to do about it
/// (kHostLacks).
namespace primus::ops::gpu {

/// `driver` and `runtime` as the runtime counts versions, 13010 for 13.1; driver 0: there is none.
Error no_usable_driver(int driver, int runtime);
/// GPU `index` where this process sees `count`.
Error no_such_gpu(int index, int count);
/// `device` as describe() gives it; `architectures` as CMake lists them.
Error no_kernels_for(int index, const std::string& device, std::string_view architectures);

}  // namespace primus::ops::gpu
