#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/partial_sums.cuh"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

constexpr int kLanes = 32;  // packs of columns beside each other
constexpr int kGroups = kBlockThreads / kLanes;

/// partial[blockIdx.y, j] = Σ of dy[t, j] over every gridDim.y'th group of rows
template <typename T, int kWidth>
__global__ void __launch_bounds__(kBlockThreads) sum_rows_kernel(Rows<const T> dy, Index rows, PartialSums partial) {
  __shared__ Floats<kWidth> sums[kGroups][kLanes];
  const Index column = (static_cast<Index>(blockIdx.x) * kLanes + threadIdx.x) * kWidth;
  Floats<kWidth> sum = {};
  if (column < partial.columns) {
    const Index step = static_cast<Index>(gridDim.y) * kGroups;
#pragma unroll 4
    for (Index row = static_cast<Index>(blockIdx.y) * kGroups + threadIdx.y; row < rows; row += step) {
      const auto values = load<kWidth>(dy.at(row, column));
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum[i] += values[i];
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= partial.columns) return;
  for (int group = 1; group < kGroups; ++group) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] += sums[group][threadIdx.x][i];
  }
  store(partial.data + blockIdx.y * partial.columns + column, sum);
}

}  // namespace

void bias_backward(Stream& stream, const BiasBackward& args) {
  const auto& [dy, d_bias] = args;
  with_element_type(dy.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>(
        [&](auto width) {
          const auto kernel = sum_rows_kernel<T, width>;
          const gpuStream_t on = stream_of(stream);
          const Index across = divide_up(dy.columns(), Index{kLanes} * width);
          const Index down = std::max<Index>(1, resident_blocks(stream, kernel, kBlockThreads) / across);
          const PartialSums partial =
              partial_sums_of(stream, std::min(down, divide_up(dy.rows(), kGroups)), dy.columns());
          const dim3 grid(static_cast<unsigned>(across), static_cast<unsigned>(partial.count));
          kernel<<<grid, dim3(kLanes, kGroups), 0, on>>>(rows_of<const T>(dy), dy.rows(), partial);
          GPU_LAUNCH_CHECK(stream, "bias_backward");
          add_partial_sums(stream, "bias_backward, sums", {partial, d_bias});
        },
        dy);
  });
}

}  // namespace primus::ops::gpu
