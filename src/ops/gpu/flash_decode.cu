#include <cmath>

#include "ops/gpu/flash_support.cuh"

namespace primus::ops::gpu {
namespace flash {
namespace {

constexpr int kWarps = 8;
constexpr int kMaxHeadDim = 256;
constexpr int kLaneElements = kMaxHeadDim / kWarpSize;

/// One query against some keys: Σ exp2(score − highest) · v over them.
struct Partial {
  float highest = -INFINITY;
  float sum = 0.0F;
  float out[kLaneElements] = {};  // columns lane, lane + kWarpSize, …
};

/// A block for each sequence and query head; each warp takes every kWarps-th key.
template <typename T>
__global__ void __launch_bounds__(kWarps* kWarpSize) decode_kernel(const FlashDecode<T> args) {
  const int heads = args.kv_heads * args.group, dim = args.head_dim;
  const int sequence = static_cast<int>(blockIdx.x) / heads, head = static_cast<int>(blockIdx.x) % heads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t cache_row = sequence * args.capacity;
  const std::int64_t column = static_cast<std::int64_t>(head / args.group) * dim;
  const T* const q = args.q.data + sequence * args.q.stride + static_cast<std::int64_t>(head) * dim;

  float query[kLaneElements];
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    const int d = lane + i * kWarpSize;
    query[i] = d < dim ? to_float(q[d]) * (args.scale * kLog2E) : 0.0F;
  }
  Partial mine;
  for (int key = warp; key < args.lengths[sequence]; key += kWarps) {
    const T* const k = args.k.data + (cache_row + key) * args.k.stride + column;
    const T* const v = args.v.data + (cache_row + key) * args.v.stride + column;
    float score = 0.0F;
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      const int d = lane + i * kWarpSize;
      if (d < dim) score += query[i] * to_float(k[d]);
    }
    score = lanes_sum(score);
    const float highest = fmaxf(mine.highest, score);
    const float correction = exp2_fast(mine.highest - highest), weight = exp2_fast(score - highest);
    mine.highest = highest;
    mine.sum = mine.sum * correction + weight;
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      const int d = lane + i * kWarpSize;
      if (d < dim) mine.out[i] = mine.out[i] * correction + weight * to_float(v[d]);
    }
  }

  __shared__ float shared_highest[kWarps], shared_sum[kWarps], shared_out[kWarps][kMaxHeadDim];
  if (lane == 0) {
    shared_highest[warp] = mine.highest;
    shared_sum[warp] = mine.sum;
  }
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) shared_out[warp][lane + i * kWarpSize] = mine.out[i];
  __syncthreads();
  float highest = shared_highest[0];  // warp 0 has a key
  for (int w = 1; w < kWarps; ++w) highest = fmaxf(highest, shared_highest[w]);
  float sum = 0.0F;
  for (int w = 0; w < kWarps; ++w) sum += shared_sum[w] * exp2_fast(shared_highest[w] - highest);
  for (int d = static_cast<int>(threadIdx.x); d < dim; d += kWarps * kWarpSize) {
    float value = 0.0F;
    for (int w = 0; w < kWarps; ++w) value += shared_out[w][d] * exp2_fast(shared_highest[w] - highest);
    args.out.data[sequence * args.out.stride + static_cast<std::int64_t>(head) * dim + d] = from_float<T>(value / sum);
  }
}

}  // namespace
}  // namespace flash

template <typename T>
void flash_decode(gpuStream_t stream, const FlashDecode<T>& args) {
  const int blocks = args.sequences * args.kv_heads * args.group;
  flash::decode_kernel<T><<<blocks, flash::kWarps * kWarpSize, 0, stream>>>(args);
}

template void flash_decode(gpuStream_t, const FlashDecode<float>&);
template void flash_decode(gpuStream_t, const FlashDecode<F16>&);
template void flash_decode(gpuStream_t, const FlashDecode<BF16>&);

}  // namespace primus::ops::gpu
