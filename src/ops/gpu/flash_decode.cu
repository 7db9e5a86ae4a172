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

/// A block for each new token and query head; each warp takes every kWarps-th key. The new key and value are read where
/// they came from: the first block of a group stores them in the cache meanwhile.
template <typename T>
__global__ void __launch_bounds__(kWarps* kWarpSize) decode_kernel(const FlashDecode<T> args) {
  const int heads = args.kv_heads * args.group, dim = args.head_dim;
  const int token = static_cast<int>(blockIdx.x) / heads, head = static_cast<int>(blockIdx.x) % heads;
  const int position = args.positions[token];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t cache_row = args.slots[token] * args.capacity;
  const std::int64_t column = static_cast<std::int64_t>(head / args.group) * dim;
  const T* const q = args.q.data + token * args.q.stride + static_cast<std::int64_t>(head) * dim;
  const T* const new_k = args.k.data + token * args.k.stride + column;
  const T* const new_v = args.v.data + token * args.v.stride + column;
  T* const k_cache = args.k_cache.data + cache_row * args.k_cache.stride + column;
  T* const v_cache = args.v_cache.data + cache_row * args.v_cache.stride + column;
  if (head % args.group == 0) {
    for (int d = static_cast<int>(threadIdx.x); d < dim; d += kWarps * kWarpSize) {
      k_cache[position * args.k_cache.stride + d] = new_k[d];
      v_cache[position * args.v_cache.stride + d] = new_v[d];
    }
  }

  float query[kLaneElements];
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    const int d = lane + i * kWarpSize;
    query[i] = d < dim ? to_float(q[d]) * (args.scale * kLog2E) : 0.0F;
  }
  Partial mine;
  for (int key = warp; key <= position; key += kWarps) {
    const T* const k = key == position ? new_k : k_cache + key * args.k_cache.stride;
    const T* const v = key == position ? new_v : v_cache + key * args.v_cache.stride;
    float score = 0.0F;
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      const int d = lane + i * kWarpSize;
      if (d < dim) score += query[i] * to_float(k[d]);
    }
    score = lanes_sum(score);
    const float highest = fmaxf(mine.highest, score);
    const float correction = fast_exp2(mine.highest - highest), weight = fast_exp2(score - highest);
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
  for (int w = 0; w < kWarps; ++w) sum += shared_sum[w] * fast_exp2(shared_highest[w] - highest);
  for (int d = static_cast<int>(threadIdx.x); d < dim; d += kWarps * kWarpSize) {
    float value = 0.0F;
    for (int w = 0; w < kWarps; ++w) value += shared_out[w][d] * fast_exp2(shared_highest[w] - highest);
    args.out.data[token * args.out.stride + static_cast<std::int64_t>(head) * dim + d] = from_float<T>(value / sum);
  }
}

}  // namespace
}  // namespace flash

template <typename T>
void flash_decode(gpuStream_t stream, const FlashDecode<T>& args) {
  const int blocks = args.tokens * args.kv_heads * args.group;
  flash::decode_kernel<T><<<blocks, flash::kWarps * kWarpSize, 0, stream>>>(args);
}

template void flash_decode(gpuStream_t, const FlashDecode<float>&);
template void flash_decode(gpuStream_t, const FlashDecode<F16>&);
template void flash_decode(gpuStream_t, const FlashDecode<BF16>&);

}  // namespace primus::ops::gpu
