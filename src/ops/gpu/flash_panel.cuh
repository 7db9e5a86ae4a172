#pragma once

#include <type_traits>

#include "ops/gpu/flash_support.cuh"
#include "ops/gpu/mma.cuh"

/// What the tiles with NVIDIA's matrix instructions share: 16-bit matrices in shared memory, and sums in registers.
namespace primus::ops::gpu::flash {

/// Rows of kDim 16-bit elements in shared memory, in panels of 64 columns (128 bytes a row) whose 16-byte chunks are
/// exchanged so that eight rows of a chunk lie in different banks.
template <typename T, int kCount, int kDim>
struct PanelTile {
  static constexpr int kTileRows = kCount;
  static constexpr int kChunks = kDim / 8;
  static constexpr int kRowBytes = 128;  // of a panel
  static constexpr int kPanelBytes = kCount * kRowBytes;
  static constexpr int kBytes = kCount * kDim * 2;
  unsigned char* data;

  __device__ explicit PanelTile(unsigned char* memory) : data(memory) {}

  /// Chunk `chunk ^ lane_chunk` of row `row + lane_row`; 8 divides `row`. What differs by lane stands apart so that it
  /// is computed once.
  __device__ unsigned char* at(int row, int chunk, int lane_row = 0, int lane_chunk = 0) const {
    return data + chunk / 8 * kPanelBytes + (row + lane_row) * kRowBytes +
           ((chunk % 8) ^ lane_chunk ^ (lane_row % 8)) * 16;
  }
};

// Sums of a warp: a lane has the rows lane / 4 and 8 further, and of every 8 columns the pair lane % 4. So sums,
// rounded, are the left operand of the next product (mma::Fragment).
__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ inline int row_of_sum(int i) { return i * 8 + lane_of_warp() / 4; }
__device__ inline int column_of_sum(int j) { return j / 2 * 8 + lane_of_warp() % 4 * 2 + j % 2; }

/// Columns 16·depth … of the 16 rows that begin with sums[first].
template <typename T, int kLaneRows, int kLaneColumns>
__device__ mma::Fragment as_fragment(const float (&sums)[kLaneRows][kLaneColumns], int first, int depth) {
  mma::Fragment fragment;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int j = 4 * depth + 2 * half;
    fragment.words[2 * half] = pair_of(sums[first][j], sums[first][j + 1], T{}).bits;
    fragment.words[2 * half + 1] = pair_of(sums[first + 1][j], sums[first + 1][j + 1], T{}).bits;
  }
  return fragment;
}

__device__ inline float quad_max(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}
__device__ inline float quad_sum(float value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}

template <int kThreads, typename T, typename SharedTile>
__device__ void copy_panels(const SharedTile& tile, const HeadRows<const T>& rows, int first) {
  constexpr int kChunks = SharedTile::kChunks, kRowsAtOnce = kThreads / kChunks;
  static_assert(kRowsAtOnce % 8 == 0);
  const int chunk = static_cast<int>(threadIdx.x) % kChunks, lane_row = static_cast<int>(threadIdx.x) / kChunks;
  unsigned char* const to = tile.at(0, chunk, lane_row);
  const int exist = rows.count - first - lane_row;  // from this thread's first row on
  const auto copy = [&](int i, const T* from) {
    if (SharedTile::kTileRows % kRowsAtOnce != 0 && i + lane_row >= SharedTile::kTileRows) return;
    copy_to_shared<16>(to + i * SharedTile::kRowBytes, from, i < exist);
  };
  if (rows.group.head(kRowsAtOnce) == 0) {  // rows of one head: equally far apart
    const T* from = rows.at(first + lane_row) + chunk * 8;
    const std::int64_t step = rows.group.token(kRowsAtOnce) * rows.stride;
#pragma unroll
    for (int i = 0; i < SharedTile::kTileRows; i += kRowsAtOnce, from += step) copy(i, from);
  } else {
#pragma unroll 1
    for (int i = 0; i < SharedTile::kTileRows; i += kRowsAtOnce) copy(i, rows.at(first + lane_row + i) + chunk * 8);
  }
}

template <typename T>
__device__ float dot_of_chunks(const T* a, const T* b) {
  const Floats<8> x = unpacked(load_pack<8>(a)), y = unpacked(load_pack<8>(b));
  float sum = 0.0F;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += x[i] * y[i];
  return sum;
}

/// Rows first + row_of_sum(i).
template <typename T, int kLaneRows, int kLaneColumns>
__device__ void store_sums(const HeadRows<T>& rows, int first, const float (&sums)[kLaneRows][kLaneColumns]) {
#pragma unroll
  for (int i = 0; i < kLaneRows; ++i) {
    const int row = first + row_of_sum(i);
    if (row >= rows.count) continue;
    T* const to = rows.at(row);
#pragma unroll
    for (int j = 0; j < kLaneColumns; j += 2) {
      *reinterpret_cast<unsigned*>(to + column_of_sum(j)) = pair_of(sums[i][j], sums[i][j + 1], T{}).bits;
    }
  }
}

}  // namespace primus::ops::gpu::flash
