#pragma once

#include "ops/gpu/kernel_support.cuh"

/// Sums over many rows without atomics: blocks leave partial sums of their rows in the stream's workspace, and a second
/// kernel adds these in a fixed order.
namespace primus::ops::gpu {

/// (count, columns) f32 in the workspace.
struct PartialSums {
  float* data;
  int count;
  Index columns;
};

/// Room for up to `wanted` rows of partial sums.
inline PartialSums partial_sums_of(const Stream& stream, Index wanted, Index columns) {
  const Workspace workspace = workspace_of(stream);
  const Index room = static_cast<Index>(workspace.bytes / sizeof(float)) / columns;
  PRIMUS_CHECK(room > 0, workspace.bytes, columns);
  return {static_cast<float*>(workspace.data), static_cast<int>(std::min(room, wanted)), columns};
}

constexpr int kSummedColumns = 32;
constexpr int kSummingRows = 16;

/// target[j] += Σ_p partial[p, j]
template <typename T>
__global__ void __launch_bounds__(kSummedColumns* kSummingRows)
    add_partial_sums_kernel(PartialSums partial, T* target) {
  __shared__ float sums[kSummingRows][kSummedColumns];
  const Index column = static_cast<Index>(blockIdx.x) * kSummedColumns + threadIdx.x;
  float sum = 0.0F;
  if (column < partial.columns) {
#pragma unroll 4
    for (int p = threadIdx.y; p < partial.count; p += kSummingRows) sum += partial.data[p * partial.columns + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= partial.columns) return;
  float total = 0.0F;
  for (int i = 0; i < kSummingRows; ++i) total += sums[i][threadIdx.x];
  target[column] = from_float<T>(to_float(target[column]) + total);
}

inline void add_partial_sums(Stream& stream, const char* name, const PartialSums& partial, const Tensor& target) {
  const auto blocks = static_cast<unsigned>(divide_up(partial.columns, kSummedColumns));
  with_state_type(target.dtype(), [&](auto type) {
    add_partial_sums_kernel<<<blocks, dim3(kSummedColumns, kSummingRows), 0, stream_of(stream)>>>(
        partial, elements_of<decltype(type)>(target));
  });
  GPU_LAUNCH_CHECK(stream, name);
}

}  // namespace primus::ops::gpu
