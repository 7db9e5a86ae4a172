#include <string_view>

#include "ops/gpu/flash_kernels.cuh"
#include "ops/gpu/flash_wgmma.cuh"

namespace primus::ops::gpu {
namespace flash {
namespace {

// Measured over long and short documents: two blocks a multiprocessor overlap their beginnings and ends; in backward a
// block has to hold what the registers allow, since smaller ones read more from the L2 cache.
constexpr WgmmaBlock kForward = {.teams = 2, .strip = 64, .stream_rows = 64, .blocks = 2};
constexpr WgmmaBlock kQueries = {.teams = 3, .strip = 64, .stream_rows = 64, .blocks = 1};
constexpr WgmmaBlock kKeys = {.teams = 2, .strip = 64, .stream_rows = 64, .blocks = 1};

}  // namespace
}  // namespace flash

bool flash_has_wgmma(const DeviceLimits& limits) {
  constexpr bool kCompiled = std::string_view(PRIMUS_GPU_ARCHITECTURES).find("90a") != std::string_view::npos;
  return kCompiled && limits.compute_capability == 90;
}

template <typename T>
void flash_wgmma_forward(gpuStream_t stream, const FlashForward<T>& args) {
  if (args.shape.head_dim == 64) {
    flash::launch_forward<flash::WgmmaTile<T, 64, flash::kForward>>(stream, args);
  } else {
    flash::launch_forward<flash::WgmmaTile<T, 128, flash::kForward>>(stream, args);
  }
}

template <typename T>
void flash_wgmma_backward(gpuStream_t stream, const FlashBackward<T>& args) {
  if (args.shape.head_dim == 64) {
    flash::launch_backward<flash::WgmmaTile<T, 64, flash::kQueries>, flash::WgmmaTile<T, 64, flash::kKeys>>(stream,
                                                                                                            args);
  } else {
    flash::launch_backward<flash::WgmmaTile<T, 128, flash::kQueries>, flash::WgmmaTile<T, 128, flash::kKeys>>(stream,
                                                                                                              args);
  }
}

template void flash_wgmma_forward(gpuStream_t, const FlashForward<F16>&);
template void flash_wgmma_forward(gpuStream_t, const FlashForward<BF16>&);
template void flash_wgmma_backward(gpuStream_t, const FlashBackward<F16>&);
template void flash_wgmma_backward(gpuStream_t, const FlashBackward<BF16>&);

}  // namespace primus::ops::gpu
