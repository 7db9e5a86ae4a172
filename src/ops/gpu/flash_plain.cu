#include "ops/gpu/flash_kernels.cuh"
#include "ops/gpu/flash_plain.cuh"

namespace primus::ops::gpu {

template <typename T>
void flash_plain_forward(gpuStream_t stream, const FlashForward<T>& args) {
  if (args.shape.head_dim <= 64) {
    flash::launch_forward<flash::PlainTile<T, 64>>(stream, args);
  } else if (args.shape.head_dim <= 128) {
    flash::launch_forward<flash::PlainTile<T, 128>>(stream, args);
  } else {
    flash::launch_forward<flash::PlainTile<T, 256>>(stream, args);
  }
}

template <typename T>
void flash_plain_backward(gpuStream_t stream, const FlashBackward<T>& args) {
  if (args.shape.head_dim <= 64) {
    flash::launch_backward<flash::PlainTile<T, 64>, flash::PlainTile<T, 64>>(stream, args);
  } else if (args.shape.head_dim <= 128) {
    flash::launch_backward<flash::PlainTile<T, 128>, flash::PlainTile<T, 128>>(stream, args);
  } else {
    flash::launch_backward<flash::PlainTile<T, 256>, flash::PlainTile<T, 256>>(stream, args);
  }
}

template void flash_plain_forward(gpuStream_t, const FlashForward<float>&);
template void flash_plain_forward(gpuStream_t, const FlashForward<F16>&);
template void flash_plain_forward(gpuStream_t, const FlashForward<BF16>&);
template void flash_plain_backward(gpuStream_t, const FlashBackward<float>&);
template void flash_plain_backward(gpuStream_t, const FlashBackward<F16>&);
template void flash_plain_backward(gpuStream_t, const FlashBackward<BF16>&);

}  // namespace primus::ops::gpu
