#pragma once

/// The platform as its users call it.
#if defined(PRIMUS_HIP)
#define PRIMUS_GPU_PLATFORM "ROCm"
#else
#define PRIMUS_GPU_PLATFORM "CUDA"
#endif
