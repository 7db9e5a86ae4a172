#pragma once

#include "ops/cpu/kernels/simd.h"

/// Products of blocks that fit into the caches, in f32, for attention. C (m, n) = or += A (m, k) · B (k, n): elements
/// of A are spread over a vector, so A may be transposed; B and C have adjacent columns, and room for n rounded up to
/// whole vectors in every row.
namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

struct BlockA {
  const float* data;
  Index row_stride;
  Index column_stride;
};
struct BlockB {
  const float* data;
  Index row_stride;
};
struct BlockC {
  float* data;
  Index row_stride;
};

// A tile of kTileRows × kTileVectors sums stays in registers: 24 of 32, or 12 of 16.
constexpr int kTileRows = 6;
#if defined(__AVX512F__)
constexpr int kTileVectors = 4;
#else
constexpr int kTileVectors = 2;
#endif

template <int kRows, int kVectors>
PRIMUS_INLINE void multiply_tile(const BlockA& a, const BlockB& b, const BlockC& c, Index k, bool accumulate) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[row][v] = accumulate ? load(c.data + row * c.row_stride + v * kLanes, AllLanes{}) : Vec{};
    }
  }
  const float* left = a.data;
  const float* right = b.data;
  for (Index i = 0; i < k; ++i, left += a.column_stride, right += b.row_stride) {
    Vec columns[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) columns[v] = load(right + v * kLanes, AllLanes{});
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const Vec factor = splat(left[row * a.row_stride]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[row][v] += factor * columns[v];
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(c.data + row * c.row_stride + v * kLanes, sums[row][v], AllLanes{});
  }
}

template <int kVectors>
void multiply_strip(BlockA a, const BlockB& b, BlockC c, Index m, Index k, bool accumulate) {
  Index row = 0;
  for (; row + kTileRows <= m; row += kTileRows) {
    multiply_tile<kTileRows, kVectors>(a, b, c, k, accumulate);
    a.data += kTileRows * a.row_stride;
    c.data += kTileRows * c.row_stride;
  }
  switch (m - row) {
    case 5:
      return multiply_tile<5, kVectors>(a, b, c, k, accumulate);
    case 4:
      return multiply_tile<4, kVectors>(a, b, c, k, accumulate);
    case 3:
      return multiply_tile<3, kVectors>(a, b, c, k, accumulate);
    case 2:
      return multiply_tile<2, kVectors>(a, b, c, k, accumulate);
    case 1:
      return multiply_tile<1, kVectors>(a, b, c, k, accumulate);
    default:
      return;
  }
}

inline void multiply(const BlockA& a, BlockB b, BlockC c, Index m, Index n, Index k, bool accumulate) {
  Index vectors = (n + kLanes - 1) / kLanes;
  for (; vectors >= kTileVectors; vectors -= kTileVectors) {
    multiply_strip<kTileVectors>(a, b, c, m, k, accumulate);
    b.data += kTileVectors * kLanes;
    c.data += kTileVectors * kLanes;
  }
  if (vectors == 1) multiply_strip<1>(a, b, c, m, k, accumulate);
#if defined(__AVX512F__)
  if (vectors == 2) multiply_strip<2>(a, b, c, m, k, accumulate);
  if (vectors == 3) multiply_strip<3>(a, b, c, m, k, accumulate);
#endif
}

/// Swaps rows and columns of kLanes vectors by halves, quarters, … (Eklundh 1972).
template <int kWidth, int... kLane>
PRIMUS_INLINE void transpose_stage(Vec (&rows)[kLanes], std::integer_sequence<int, kLane...>) {
  constexpr IntVec kLow = {((kLane & kWidth) != 0 ? kLanes + kLane - kWidth : kLane)...};
  constexpr IntVec kHigh = {((kLane & kWidth) != 0 ? kLanes + kLane : kLane + kWidth)...};
#pragma GCC unroll 16
  for (int row = 0; row < kLanes; ++row) {
    if ((row & kWidth) != 0) continue;
    const Vec low = __builtin_shuffle(rows[row], rows[row + kWidth], kLow);
    rows[row + kWidth] = __builtin_shuffle(rows[row], rows[row + kWidth], kHigh);
    rows[row] = low;
  }
}

PRIMUS_INLINE void transpose(Vec (&rows)[kLanes]) {
  constexpr auto kSequence = std::make_integer_sequence<int, kLanes>{};
  if constexpr (kLanes >= 16) transpose_stage<8>(rows, kSequence);
  if constexpr (kLanes >= 8) transpose_stage<4>(rows, kSequence);
  transpose_stage<2>(rows, kSequence);
  transpose_stage<1>(rows, kSequence);
}

/// out[j · out_stride + i] = scale · x[i, j]: `count` rows of `dim` elements; columns up to the next whole vector are
/// filled with zeros.
template <typename T>
void load_transposed(const T* x, Index stride, Index count, Index dim, float scale, float* out, Index out_stride) {
  for (Index i = 0; i < count; i += kLanes) {
    const Index valid = count - i < kLanes ? count - i : kLanes;
    for (Index j = 0; j < dim; j += kLanes) {
      const Index width = dim - j < kLanes ? dim - j : kLanes;
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int row = 0; row < kLanes; ++row) {
        rows[row] = Vec{};
        if (row >= valid) continue;
        const T* from = x + (i + row) * stride + j;
        rows[row] = (width == kLanes ? load(from, AllLanes{}) : load(from, FirstLanes{width})) * scale;
      }
      transpose(rows);
#pragma GCC unroll 16
      for (int row = 0; row < kLanes; ++row) {
        if (row < width) store(out + (j + row) * out_stride + i, rows[row], AllLanes{});
      }
    }
  }
}

}  // namespace
}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
