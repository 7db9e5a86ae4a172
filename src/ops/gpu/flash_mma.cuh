#pragma once

#include <type_traits>

#include "ops/gpu/flash_panel.cuh"

namespace primus::ops::gpu::flash {

struct MmaBlock {
  int teams;        // warps
  int row_tiles;    // of 16 rows, a warp
  int strip_tiles;  // of 16 columns
  int stream_rows;
  bool left_in_registers;
  int blocks;  // a multiprocessor
};

/// The Tile (flash_kernels.cuh) of NVIDIA's mma.sync: products of 16 × 16 × 16, inputs 16 bit, sums f32. A team is a
/// warp. The scores of a product lie in registers as the left operand of the next wants them.
template <typename T, int kDim, MmaBlock kBlock>
struct MmaTile {
  using Element = T;
  static constexpr int kTeam = kWarpSize;
  static constexpr int kTeams = kBlock.teams;
  static constexpr int kThreads = kTeam * kTeams;
  static constexpr int kBlocks = kBlock.blocks;
  static constexpr int kRowTiles = kBlock.row_tiles;
  static constexpr int kRows = 16 * kRowTiles;
  static constexpr int kStrip = 16 * kBlock.strip_tiles;
  static constexpr int kOwnRows = kRows * kTeams;
  static constexpr int kStreamRows = kBlock.stream_rows;
  static constexpr int kLaneRows = 2 * kRowTiles;
  static constexpr int kLaneColumns = kStrip / 4;
  static constexpr int kLaneOutputs = kDim / 4;
  using Own = PanelTile<T, kOwnRows, kDim>;
  using Stream = PanelTile<T, kStreamRows, kDim>;

  __device__ static int row_of(int i) { return row_of_sum(i); }
  __device__ static int column_of(int j) { return column_of_sum(j); }

  class LeftInShared {
   public:
    __device__ LeftInShared(const Own& tile, int team) : tile_(tile), row_(team * kRows) {}
    __device__ mma::Fragment fragment(int row_tile, int depth) const {
      return mma::load(tile_.at(row_ + 16 * row_tile, 2 * depth, lane_of_warp() % 16, lane_of_warp() / 16));
    }

   private:
    Own tile_;
    int row_;
  };
  class LeftInRegisters {
   public:
    __device__ LeftInRegisters(const Own& tile, int team) {
      const LeftInShared shared(tile, team);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int depth = 0; depth < kDim / 16; ++depth) fragments_[m][depth] = shared.fragment(m, depth);
      }
    }
    __device__ mma::Fragment fragment(int row_tile, int depth) const { return fragments_[row_tile][depth]; }

   private:
    mma::Fragment fragments_[kRowTiles][kDim / 16];
  };
  using Left = std::conditional_t<kBlock.left_in_registers, LeftInRegisters, LeftInShared>;

  template <typename SharedTile>
  __device__ static void copy(const SharedTile& tile, const HeadRows<const T>& rows, int first) {
    copy_panels<kThreads>(tile, rows, first);
  }
  __device__ static void wait_for_copies() { gpu::wait_for_copies(); }

  __device__ static void multiply(float (&scores)[kLaneRows][kLaneColumns], const Left& left, const Stream& right,
                                  int strip) {
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
#pragma unroll
      for (int j = 0; j < kLaneColumns; ++j) scores[i][j] = 0.0F;
    }
#pragma unroll
    for (int depth = 0; depth < kDim / 16; ++depth) {
      mma::Fragment a[kRowTiles];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) a[m] = left.fragment(m, depth);
#pragma unroll
      for (int n = 0; n < kStrip / 16; ++n) {
        const mma::Fragment b = mma::load(
            right.at(strip + 16 * n, 2 * depth, lane_of_warp() % 8 + lane_of_warp() / 16 * 8, lane_of_warp() / 8 % 2));
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) multiply_add(scores, m, n, a[m], b);
      }
    }
  }

  __device__ static void accumulate(float (&out)[kLaneRows][kLaneOutputs],
                                    const float (&scores)[kLaneRows][kLaneColumns], const Stream& right, int strip) {
#pragma unroll
    for (int depth = 0; depth < kStrip / 16; ++depth) {
      mma::Fragment a[kRowTiles];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) a[m] = as_fragment<T>(scores, 2 * m, depth);
#pragma unroll
      for (int n = 0; n < kDim / 16; ++n) {
        const mma::Fragment b =
            mma::load_transposed(right.at(strip + 16 * depth, 2 * n, lane_of_warp() % 16, lane_of_warp() / 16));
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) multiply_add(out, m, n, a[m], b);
      }
    }
  }

  template <int kPending>
  __device__ static void wait() {}

  __device__ static float row_max(float value) { return quad_max(value); }
  __device__ static float row_sum(float value) { return quad_sum(value); }

  static constexpr int kDotLanes = kDim / 8;
  __device__ static float dot(const T* a, const T* b, int lane, int /*dim*/) {
    return dot_of_chunks(a + lane * 8, b + lane * 8);
  }

  __device__ static void store(const HeadRows<T>& rows, int first, const float (&out)[kLaneRows][kLaneOutputs]) {
    store_sums(rows, first, out);
  }

 private:
  /// sums(16 × 16 tile m, n) += a · b, as two instructions of 8 columns.
  template <int kColumns>
  __device__ static void multiply_add(float (&sums)[kLaneRows][kColumns], int m, int n, const mma::Fragment& a,
                                      const mma::Fragment& b) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int j = 4 * n + 2 * half;
      mma::multiply_add<T>(sums[2 * m][j], sums[2 * m][j + 1], sums[2 * m + 1][j], sums[2 * m + 1][j + 1], a,
                           b.words[2 * half], b.words[2 * half + 1]);
    }
  }
};

}  // namespace primus::ops::gpu::flash
