#pragma once

#include "tensor/backend.h"

namespace primus::ops::gpu {

/// Recordings are the runtime's graphs. PRIMUS_CUDA_GRAPHS=off does without them.
extern const Recorder kRecorder;

}  // namespace primus::ops::gpu
