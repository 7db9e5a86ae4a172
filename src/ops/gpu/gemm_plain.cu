#include "base/error.h"
#include "ops/gpu/gemm.h"
#include "ops/gpu/kernel_support.cuh"

namespace primus::ops::gpu {
namespace {

constexpr int kTile = 64;   // rows and columns of D per block
constexpr int kDepth = 16;  // of A and B in shared memory at a time
constexpr int kSide = 16;   // threads a side: each computes (kTile / kSide)² elements
constexpr int kEach = kTile / kSide;

/// A and B by the distances between neighbours, so that transposes are only strides.
struct Strides {
  std::int64_t a_m, a_k, b_k, b_n;
};

template <typename In, typename Out>
__global__ void __launch_bounds__(kSide* kSide)
    multiply(GemmShape shape, Strides strides, const In* a, const In* b, const Out* c, Out* d, float alpha) {
  __shared__ float a_tile[kDepth][kTile + 1];
  __shared__ float b_tile[kDepth][kTile + 1];
  const int thread = threadIdx.x, row = thread % kSide, column = thread / kSide;
  const std::int64_t m0 = std::int64_t{blockIdx.x} * kTile, n0 = std::int64_t{blockIdx.y} * kTile;
  float sums[kEach][kEach] = {};
  for (std::int64_t k0 = 0; k0 < shape.k; k0 += kDepth) {
    for (int i = thread; i < kTile * kDepth; i += kSide * kSide) {
      const int depth = i / kTile, place = i % kTile;
      const std::int64_t k = k0 + depth, m = m0 + place, n = n0 + place;
      a_tile[depth][place] = k < shape.k && m < shape.m ? to_float(a[m * strides.a_m + k * strides.a_k]) : 0.0F;
      b_tile[depth][place] = k < shape.k && n < shape.n ? to_float(b[k * strides.b_k + n * strides.b_n]) : 0.0F;
    }
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < kDepth; ++depth) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
          sums[i][j] = fmaf(a_tile[depth][row + i * kSide], b_tile[depth][column + j * kSide], sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const std::int64_t m = m0 + row + i * kSide, n = n0 + column + j * kSide;
      if (m >= shape.m || n >= shape.n) continue;
      float value = alpha * sums[i][j];
      if (shape.adds_c) value += to_float(c[n * shape.ldc + m]);
      d[n * shape.ldd + m] = from_float<Out>(value);
    }
  }
}

}  // namespace

void plain_gemm(const Stream& stream, const GemmShape& shape, const GemmOperands& operands) {
  const dim3 grid(static_cast<unsigned>((shape.m + kTile - 1) / kTile),
                  static_cast<unsigned>((shape.n + kTile - 1) / kTile));
  PRIMUS_CHECK(grid.y <= 65535, shape.n);
  const Strides strides{.a_m = shape.transpose_a ? shape.lda : 1,
                        .a_k = shape.transpose_a ? 1 : shape.lda,
                        .b_k = shape.transpose_b ? shape.ldb : 1,
                        .b_n = shape.transpose_b ? 1 : shape.ldb};
  gpuStream_t on = stream_of(stream);
  with_element_type(shape.in, [&](auto in) {
    using In = decltype(in);
    const auto run = [&](auto out) {
      using Out = decltype(out);
      multiply<In, Out><<<grid, kSide * kSide, 0, on>>>(
          shape, strides, static_cast<const In*>(operands.a), static_cast<const In*>(operands.b),
          static_cast<const Out*>(operands.c), static_cast<Out*>(operands.d), operands.alpha);
    };
    if (shape.out == shape.in) {
      run(in);
    } else {
      with_state_type(shape.out, run);
    }
  });
  GPU_LAUNCH_CHECK(stream, "plain_gemm");
}

}  // namespace primus::ops::gpu
