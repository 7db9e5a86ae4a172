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

// narrow blocks, a sector of memory wide, so that there are many of them
constexpr int kSummedColumns = 8;
constexpr int kSummingRows = 64;
constexpr int kSummingThreads = kSummedColumns * kSummingRows;

/// target[j] += Σ_p partial[p, j]
struct PartialSumsInto {
  PartialSums partial;
  GradientTarget target;

  PartialSumsInto(const PartialSums& sums, const Tensor& into) : partial(sums), target(into) {}
};

static __global__ void __launch_bounds__(kSummingThreads)
    add_partial_sums_kernel(PartialSumsInto first, PartialSumsInto second) {
  __shared__ float sums[kSummingRows][kSummedColumns];
  const PartialSumsInto job = blockIdx.y == 0 ? first : second;
  const PartialSums partial = job.partial;
  const Index column = static_cast<Index>(blockIdx.x) * kSummedColumns + threadIdx.x;
  if (job.target.data == nullptr) return;
  float sum = 0.0F;
  if (column < partial.columns) {
#pragma unroll 8
    for (int p = threadIdx.y; p < partial.count; p += kSummingRows) sum += partial.data[p * partial.columns + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= partial.columns) return;
  float total = 0.0F;
#pragma unroll
  for (int i = 0; i < kSummingRows; ++i) total += sums[i][threadIdx.x];
  job.target.put(column, total, /*accumulate=*/true);
}

/// Two targets at once, of which either may be empty.
inline void add_partial_sums(Stream& stream, const char* name, const PartialSumsInto& first,
                             const PartialSumsInto& second = {{}, {}}) {
  const Index columns = std::max(first.partial.columns, second.partial.columns);
  const dim3 grid(static_cast<unsigned>(divide_up(columns, kSummedColumns)), second.target.data == nullptr ? 1 : 2);
  add_partial_sums_kernel<<<grid, dim3(kSummedColumns, kSummingRows), 0, stream_of(stream)>>>(first, second);
  GPU_LAUNCH_CHECK(stream, name);
}

}  // namespace primus::ops::gpu
