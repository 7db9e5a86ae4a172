#pragma once

#include "ops/gpu/flash_support.cuh"

namespace primus::ops::gpu::flash {

/// The Tile (flash_kernels.cuh) of plain f32 arithmetic: any element type, alignment and head_dim up to kDim. A team is
/// a warp with 4 rows; each lane has one column of a strip, and every kWarpSize-th column of an output.
template <typename T, int kDim>
struct PlainTile {
  using Element = T;
  static constexpr int kTeam = kWarpSize;
  static constexpr int kTeams = 8;
  static constexpr int kThreads = kTeam * kTeams;
  static constexpr int kBlocks = 1;
  static constexpr int kRows = 4;
  static constexpr int kStrip = kWarpSize;
  static constexpr int kOwnRows = kRows * kTeams;
  static constexpr int kStreamRows = kWarpSize;
  static constexpr int kLaneRows = kRows;
  static constexpr int kLaneColumns = 1;
  static constexpr int kLaneOutputs = kDim / kWarpSize;

  /// In f32; four more a row, so that the lanes of a warp read their rows from different banks.
  template <int kCount>
  struct Shared {
    static constexpr int kPitch = kDim + 4;
    static constexpr int kTileRows = kCount;
    static constexpr int kBytes = kCount * kPitch * static_cast<int>(sizeof(float));
    float* data;

    __device__ explicit Shared(unsigned char* memory) : data(reinterpret_cast<float*>(memory)) {}
    __device__ const float* row(int index) const { return data + index * kPitch; }
  };
  using Own = Shared<kOwnRows>;
  using Stream = Shared<kStreamRows>;

  struct Left {
    const float* rows;
    __device__ Left(const Own& tile, int team) : rows(tile.row(team * kRows)) {}
  };

  __device__ static int row_of(int i) { return i; }
  __device__ static int column_of(int j) { return static_cast<int>(threadIdx.x) % kWarpSize + j * kWarpSize; }

  template <typename SharedTile>
  __device__ static void copy(const SharedTile& tile, const HeadRows<const T>& rows, int first) {
    for (int i = static_cast<int>(threadIdx.x); i < SharedTile::kTileRows * kDim; i += kThreads) {
      const int row = i / kDim, d = i % kDim;
      const bool exists = first + row < rows.count && d < rows.head_dim;
      tile.data[row * SharedTile::kPitch + d] = exists ? to_float(rows.at(first + row)[d]) : 0.0F;
    }
  }

  __device__ static void wait_for_copies() { gpu::wait_for_copies(); }  // what the kernels copy themselves
  template <int kPending>
  __device__ static void wait() {}

  __device__ static void multiply(float (&scores)[kLaneRows][kLaneColumns], const Left& left, const Stream& right,
                                  int strip) {
    const auto* const b = reinterpret_cast<const float4*>(right.row(strip + column_of(0)));
    float sums[kRows] = {};
#pragma unroll 8
    for (int d = 0; d < kDim / 4; ++d) {
      const float4 y = b[d];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const float4 x = reinterpret_cast<const float4*>(left.rows + i * Own::kPitch)[d];
        sums[i] += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) scores[i][0] = sums[i];
  }

  __device__ static void accumulate(float (&out)[kLaneRows][kLaneOutputs],
                                    const float (&scores)[kLaneRows][kLaneColumns], const Stream& right, int strip) {
#pragma unroll 4
    for (int key = 0; key < kStrip; ++key) {
      const float* const row = right.row(strip + key);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const float weight = shuffle(scores[i][0], key);
#pragma unroll
        for (int j = 0; j < kLaneOutputs; ++j) out[i][j] += weight * row[column_of(j)];
      }
    }
  }

  __device__ static float row_max(float value) {
    for (int mask = kWarpSize / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
    return value;
  }
  __device__ static float row_sum(float value) { return lanes_sum(value); }

  static constexpr int kDotLanes = kWarpSize;
  __device__ static float dot(const T* a, const T* b, int lane, int dim) {
    float sum = 0.0F;
    for (int d = lane; d < dim; d += kDotLanes) sum += to_float(a[d]) * to_float(b[d]);
    return sum;
  }

  __device__ static void store(const HeadRows<T>& rows, int first, const float (&out)[kLaneRows][kLaneOutputs]) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (first + i >= rows.count) continue;
      T* const row = rows.at(first + i);
#pragma unroll
      for (int j = 0; j < kLaneOutputs; ++j) {
        if (column_of(j) < rows.head_dim) row[column_of(j)] = from_float<T>(out[i][j]);
      }
    }
  }
};

}  // namespace primus::ops::gpu::flash
