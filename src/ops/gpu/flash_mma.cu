#include "ops/gpu/flash_kernels.cuh"
#include "ops/gpu/flash_mma.cuh"

namespace primus::ops::gpu {
namespace flash {
namespace {

// Forward is bound by matrix instructions when a fragment of keys serves 32 rows. Backward has two operands on the
// left: it keeps them in registers, which leaves room for 16 rows.
constexpr MmaBlock kForward = {
    .teams = 4, .row_tiles = 2, .strip_tiles = 4, .stream_rows = 64, .left_in_registers = false, .blocks = 2};
constexpr MmaBlock kQueries = {
    .teams = 4, .row_tiles = 1, .strip_tiles = 2, .stream_rows = 64, .left_in_registers = true, .blocks = 2};
constexpr MmaBlock kKeys = {
    .teams = 4, .row_tiles = 1, .strip_tiles = 1, .stream_rows = 64, .left_in_registers = true, .blocks = 2};

}  // namespace
}  // namespace flash

template <typename T>
void flash_mma_forward(gpuStream_t stream, const FlashForward<T>& args) {
  if (args.shape.head_dim == 64) {
    flash::launch_forward<flash::MmaTile<T, 64, flash::kForward>>(stream, args);
  } else {
    flash::launch_forward<flash::MmaTile<T, 128, flash::kForward>>(stream, args);
  }
}

template <typename T>
void flash_mma_backward(gpuStream_t stream, const FlashBackward<T>& args) {
  if (args.shape.head_dim == 64) {
    flash::launch_backward<flash::MmaTile<T, 64, flash::kQueries>, flash::MmaTile<T, 64, flash::kKeys>>(stream, args);
  } else {
    flash::launch_backward<flash::MmaTile<T, 128, flash::kQueries>, flash::MmaTile<T, 128, flash::kKeys>>(stream, args);
  }
}

template void flash_mma_forward(gpuStream_t, const FlashForward<F16>&);
template void flash_mma_forward(gpuStream_t, const FlashForward<BF16>&);
template void flash_mma_backward(gpuStream_t, const FlashBackward<F16>&);
template void flash_mma_backward(gpuStream_t, const FlashBackward<BF16>&);

}  // namespace primus::ops::gpu
