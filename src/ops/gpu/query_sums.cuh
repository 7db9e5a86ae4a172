#pragma once

#include "ops/gpu/kernel_support.cuh"

namespace primus::ops::gpu {

/// dq in f32, added up by attention's backward in a single pass: a row of 64 sums for each half of a query head.
///
/// A row is in the order of the matrix instruction that adds to it. Of 16 columns, those of a lane, {0, 1, 8, 9} +
/// 2·(lane % 4), are neighbours; the 16s of odd tokens are exchanged in pairs, so that neighbouring rows on their way
/// through shared memory lie in different banks.
struct QuerySums {
  static constexpr int kColumns = 64;
  float* data;  // (heads, 2, tokens, 64); null: not there
  std::int64_t tokens;

  __host__ __device__ float* at(int head, int half, std::int64_t token) const {
    return data + ((static_cast<std::int64_t>(head) * 2 + half) * tokens + token) * kColumns;
  }
  /// Where in its row a lane's part of columns 16·part + {0, …, 15} begins, and a column lies.
  __device__ static int place_of_part(std::int64_t token, int part) {
    return (part ^ static_cast<int>(token & 1)) * 16;
  }
  __device__ static int place_of_column(std::int64_t token, int column) {
    return place_of_part(token, column / 16) + column % 8 / 2 * 4 + column % 16 / 8 * 2 + column % 2;
  }

  /// Columns from `column`, a multiple of kWidth, on.
  template <int kWidth>
  __device__ __forceinline__ Floats<kWidth> load(int head, int half, std::int64_t token, int column) const {
    const float* const row = at(head, half, token);
    Floats<kWidth> sums;
    if constexpr (kWidth == 1) {
      sums[0] = row[place_of_column(token, column)];
    } else {
#pragma unroll
      for (int i = 0; i < kWidth; i += 2) {
        const float2 two = *reinterpret_cast<const float2*>(row + place_of_column(token, column + i));
        sums[i] = two.x;
        sums[i + 1] = two.y;
      }
    }
    return sums;
  }
};

}  // namespace primus::ops::gpu
