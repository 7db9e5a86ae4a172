#pragma once

#include "ops/gpu/hopper.cuh"

/// SwiGLU's backward behind the product that makes its gradient, d_out = dy·W, for Hopper. Two warpgroups take turns:
/// one multiplies a tile of 128 × 192 while the other reads gate and up of its last one, writes their gradients in
/// their place and the restored product, so that memory and matrix units work at the same time.
///
/// Two blocks of a cluster have neighbouring rows; each fetches half of what they share of W for both. One warp fetches
/// operands, one gate and up, in chunks of 64 × 64.
namespace primus::ops::gpu::linear_swiglu {

using flash::lane_of_warp;
using flash::hopper::Barrier;
namespace hopper = flash::hopper;
namespace wgmma = flash::wgmma;

constexpr int kTeam = 128, kThreads = 3 * kTeam;  // a warpgroup; one fetches, two compute
constexpr int kCluster = 2;
constexpr int kRows = 128, kColumns = 192, kDepth = 64;  // of a tile, and of a stage
constexpr int kHalves = kRows / 64;
constexpr int kLane = kColumns / 4;  // sums that a thread has of a row
constexpr int kStages = 4, kBuffers = 2;
constexpr int kChunks = kHalves * kColumns / 64;  // of a tile

/// Bytes and offsets in shared memory.
struct Layout {
  static constexpr int kPanel = kDepth * 128;  // 64 columns of W
  static constexpr int kDy = kRows * kDepth * 2, kWeight = kColumns * kDepth * 2, kStage = kDy + kWeight;
  static constexpr int kChunk = 64 * 64 * 2, kBuffer = 3 * kChunk;  // gate, up, out
  static constexpr int kFirstBuffer = kStages * kStage;
  static constexpr int kBarriers = kFirstBuffer + kBuffers * kBuffer;
  static constexpr int kBytes = kBarriers + 2 * (kStages + kBuffers) * Barrier::kBytes;
};

struct Arguments {
  CUtensorMap dy, weight, gate, up, d_gate, d_up, out;
  int row_pairs;     // of 256 rows, a cluster's
  int column_tiles;  // of F
  int depth_tiles;   // of what is summed over
};

/// Clusters side by side have up to kGroup pairs of rows, and then the next columns, so that all find dy and W in the
/// L2 cache.
constexpr int kGroup = 8;

struct Place {
  int row, column;
};

/// The tiles of a block: every so many from its cluster's number on.
struct Tiles {
  int rank, first, step, count;
  int row_pairs, column_tiles;

  __device__ explicit Tiles(const Arguments& args)
      : rank(static_cast<int>(blockIdx.x) % kCluster),
        first(static_cast<int>(blockIdx.x) / kCluster),
        step(static_cast<int>(gridDim.x) / kCluster),
        count(args.row_pairs * args.column_tiles),
        row_pairs(args.row_pairs),
        column_tiles(args.column_tiles) {}

  __device__ Place at(int index) const {
    const int group = kGroup * column_tiles, begin = index / group * kGroup, rest = index % group;
    const int pairs = min(kGroup, row_pairs - begin);
    return {((begin + rest % pairs) * kCluster + rank) * kRows, rest / pairs * kColumns};
  }
};

struct Barriers {
  unsigned first;
  __device__ Barrier at(int i) const { return Barrier(first + static_cast<unsigned>(i * Barrier::kBytes)); }
  __device__ Barrier full(int stage) const { return at(stage); }
  __device__ Barrier empty(int stage) const { return at(kStages + stage); }
  __device__ Barrier buffer_full(int buffer) const { return at(2 * kStages + buffer); }
  __device__ Barrier buffer_empty(int buffer) const { return at(2 * kStages + kBuffers + buffer); }

  __device__ void init() const {
    for (int i = 0; i < kStages; ++i) {
      full(i).init(1);
      empty(i).init(kCluster * kTeam / kWarpSize);  // a warpgroup of each block
    }
    for (int i = 0; i < kBuffers; ++i) {
      buffer_full(i).init(1);
      buffer_empty(i).init(1);
    }
    hopper::publish_barriers();
  }
};

/// One thread.
__device__ inline void fetch_operands(const Arguments& args, const Tiles& tiles, unsigned shared, Barriers barriers) {
  constexpr int kPart = kDepth / kCluster;  // rows of W that this block fetches
  hopper::Turn<kStages> turn;
#pragma unroll 1
  for (int index = tiles.first; index < tiles.count; index += tiles.step) {
    const Place place = tiles.at(index);
#pragma unroll 1
    for (int depth = 0; depth < args.depth_tiles; ++depth) {
      const unsigned dy = shared + static_cast<unsigned>(turn.stage * Layout::kStage);
      const unsigned weight = dy + static_cast<unsigned>(Layout::kDy + tiles.rank * kPart * 128);
      const Barrier full = barriers.full(turn.stage);
      barriers.empty(turn.stage).wait(turn.parity ^ 1U);
      full.arrive_and_expect(Layout::kStage);
      hopper::copy_box(dy, args.dy, depth * kDepth, place.row, full);
#pragma unroll
      for (int panel = 0; panel < kColumns / 64; ++panel) {
        hopper::copy_box_to_both(weight + panel * Layout::kPanel, args.weight, place.column + panel * 64,
                                 depth * kDepth + tiles.rank * kPart, full);
      }
      turn.advance();
    }
  }
}

/// Of a chunk of a tile.
__device__ inline Place chunk_at(Place tile, int chunk) {
  constexpr int kOfRows = kChunks / kHalves;
  return {tile.row + chunk / kOfRows * 64, tile.column + chunk % kOfRows * 64};
}

/// One thread.
__device__ inline void fetch_gate_up(const Arguments& args, const Tiles& tiles, unsigned shared, Barriers barriers) {
  hopper::Turn<kBuffers> turn;
#pragma unroll 1
  for (int index = tiles.first; index < tiles.count; index += tiles.step) {
#pragma unroll 1
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const Place place = chunk_at(tiles.at(index), chunk);
      const unsigned buffer = shared + static_cast<unsigned>(Layout::kFirstBuffer + turn.stage * Layout::kBuffer);
      const Barrier full = barriers.buffer_full(turn.stage);
      barriers.buffer_empty(turn.stage).wait(turn.parity ^ 1U);
      full.arrive_and_expect(2 * Layout::kChunk);
      hopper::copy_box(buffer, args.gate, place.column, place.row, full);
      hopper::copy_box(buffer + Layout::kChunk, args.up, place.column, place.row, full);
      turn.advance();
    }
  }
}

// clang-format off
#define PRIMUS_SUMS_96 PRIMUS_SUMS_64, PRIMUS_SUMS_16(32), PRIMUS_SUMS_16(40)
#define PRIMUS_NAMES_96 \
  PRIMUS_NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
  "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
// a · b, both in shared memory, 16 columns of a and 16 rows of b; the sums are kept if `adds`, else overwritten
#define PRIMUS_MULTIPLY_ROWS(type) \
  PRIMUS_WGMMA("{.reg .pred adds; .reg .b64 a, b; setp.ne.b32 adds, %99, 0; mov.b64 a, {%96, %98}; mov.b64 b, {%97, %98}; " \
               "wgmma.mma_async.sync.aligned.m64n192k16.f32." type "." type " {" PRIMUS_NAMES_96 "}, a, b, adds, 1, 1, 0, 1;}" \
               : PRIMUS_SUMS_96 : "r"(a), "r"(b), "r"(wgmma::kDescriptorHigh), "r"(static_cast<int>(adds)))
// clang-format on
template <typename T>
__device__ void multiply_rows(float (&sums)[2][kLane], unsigned a, unsigned b, bool adds) {
  if constexpr (std::is_same_v<T, F16>) {
    PRIMUS_MULTIPLY_ROWS("f16");
  } else {
    PRIMUS_MULTIPLY_ROWS("bf16");
  }
}

/// A tile's sums, 64 rows each.
using Sums = float[kHalves][2][kLane];

template <typename T>
__device__ void multiply_stage(Sums& sums, unsigned dy, unsigned weight, bool adds) {
  constexpr unsigned kSixtyFourRows = 64 * 128 >> 4, kSixteenRows = 16 * 128 >> 4, kSixteenColumns = 32 >> 4;
  wgmma::fence();
#pragma unroll
  for (unsigned step = 0; step < kDepth / 16; ++step) {
#pragma unroll
    for (unsigned half = 0; half < kHalves; ++half) {
      multiply_rows<T>(sums[half], dy + half * kSixtyFourRows + step * kSixteenColumns, weight + step * kSixteenRows,
                       adds || step > 0);
    }
  }
  wgmma::commit();
}

/// The gradients of gate and up in their place, and out, from d_out.
struct Swiglu {
  float gate, up, out;

  __device__ Swiglu(float d_out, float x, float y) {
    const float sigmoid = __fdividef(1.0F, 1.0F + fast_exp(-x)), silu = x * sigmoid;
    gate = d_out * y * (sigmoid + silu * (1.0F - sigmoid));
    up = d_out * silu;
    out = silu * y;
  }
};

/// Of 16 × 16 elements at `chunk`, which is an address for each lane as in mma::load; column 0 is sums[…][first].
template <typename T>
__device__ void swiglu(const float (&sums)[2][kLane], int first, unsigned chunk) {
  mma::Fragment gate = mma::load(chunk), up = mma::load(chunk + Layout::kChunk), out;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* const d_out = &sums[i % 2][first + i / 2 * 2];
    const float2 x = to_floats(Pair{gate.words[i]}, T{}), y = to_floats(Pair{up.words[i]}, T{});
    const Swiglu left(d_out[0], x.x, y.x), right(d_out[1], x.y, y.y);
    gate.words[i] = pair_of(left.gate, right.gate, T{}).bits;
    up.words[i] = pair_of(left.up, right.up, T{}).bits;
    out.words[i] = pair_of(left.out, right.out, T{}).bits;
  }
  hopper::store(chunk, gate);
  hopper::store(chunk + Layout::kChunk, up);
  hopper::store(chunk + 2 * Layout::kChunk, out);
}

/// Names of barriers: a warpgroup's turn to multiply, and to have the buffers; its own.
template <int kFirst>
__device__ void wait_for_turn(int team) {
  hopper::synchronize(kFirst + team, 2 * kTeam);
}
template <int kFirst>
__device__ void give_turn(int team) {
  hopper::signal(kFirst + (team ^ 1), 2 * kTeam);
}
constexpr int kMultiplies = 1, kHasBuffers = 3, kOwn = 5;

/// One of the two warpgroups, which have every other tile.
template <typename T>
class Computer {
 public:
  __device__ Computer(const Arguments& args, const Tiles& tiles, unsigned shared, Barriers barriers)
      : args_(args),
        tiles_(tiles),
        shared_(shared),
        barriers_(barriers),
        team_(static_cast<int>(threadIdx.x) / kTeam - 1) {}

  __device__ void run() {
    if (team_ == 1) leave_to_the_other();
#pragma unroll 1
    for (int index = tiles_.first + team_ * tiles_.step; index < tiles_.count; index += 2 * tiles_.step) {
      const bool is_first = index == tiles_.first, is_last = index + tiles_.step >= tiles_.count;
      Sums sums;
      if (!is_first) wait_for_turn<kMultiplies>(team_);
      multiply(sums, is_last);
      if (!is_first) wait_for_turn<kHasBuffers>(team_);
      finish(sums, tiles_.at(index));
      if (!is_last) give_turn<kHasBuffers>(team_);
      leave_to_the_other();
    }
    if (thread() == 0) hopper::wait_until_written();
  }

 private:
  __device__ static int thread() { return static_cast<int>(threadIdx.x) % kTeam; }

  /// Behind the stages and buffers of a tile.
  __device__ void leave_to_the_other() {
    stage_.advance(args_.depth_tiles);
    buffer_.advance(kChunks);
  }

  __device__ void multiply(Sums& sums, bool is_last) {
    int before = 0;
#pragma unroll 1
    for (int depth = 0; depth < args_.depth_tiles; ++depth) {
      const unsigned dy = shared_ + static_cast<unsigned>(stage_.stage * Layout::kStage);
      barriers_.full(stage_.stage).wait(stage_.parity);
      multiply_stage<T>(sums, wgmma::descriptor(dy, 0), wgmma::descriptor(dy + Layout::kDy, Layout::kPanel), depth > 0);
      if (depth > 0) {
        wgmma::wait<1>();
        release(before);
      }
      before = stage_.stage;
      stage_.advance();
    }
    if (!is_last) give_turn<kMultiplies>(team_);
    wgmma::wait<0>();
    release(before);
#pragma unroll
    for (int half = 0; half < kHalves; ++half) hopper::settle(sums[half]);
  }

  /// This warp has read the stage, of which both blocks have written a part.
  __device__ void release(int stage) const {
    if (lane_of_warp() < kCluster) hopper::arrive_at(barriers_.empty(stage), lane_of_warp());
  }

  __device__ void finish(const Sums& sums, Place tile) {
    const int row = thread() / kWarpSize * 16 + lane_of_warp() % 16;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      constexpr int kOfRows = kChunks / kHalves;
      const unsigned buffer = shared_ + static_cast<unsigned>(Layout::kFirstBuffer + buffer_.stage * Layout::kBuffer);
      barriers_.buffer_full(buffer_.stage).wait(buffer_.parity);
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int place = row * 128 + ((part * 2 + lane_of_warp() / 16) ^ (row % 8)) * 16;
        swiglu<T>(sums[chunk / kOfRows], chunk % kOfRows * 16 + part * 4, buffer + static_cast<unsigned>(place));
      }
      wgmma::publish();
      hopper::synchronize(kOwn + team_, kTeam);
      if (thread() == 0) store(buffer, chunk_at(tile, chunk));
      buffer_.advance();
    }
  }

  __device__ void store(unsigned buffer, Place place) const {
    hopper::store_box(args_.d_gate, place.column, place.row, buffer);
    hopper::store_box(args_.d_up, place.column, place.row, buffer + Layout::kChunk);
    hopper::store_box(args_.out, place.column, place.row, buffer + 2 * Layout::kChunk);
    hopper::commit_stores();
    hopper::wait_until_read();
    barriers_.buffer_empty(buffer_.stage).arrive();
  }

  const Arguments& args_;
  const Tiles& tiles_;
  unsigned shared_;
  Barriers barriers_;
  int team_;
  hopper::Turn<kStages> stage_;
  hopper::Turn<kBuffers> buffer_;
};

template <typename T>
__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1)
    backward_kernel(const __grid_constant__ Arguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) unsigned char memory[];
  const unsigned shared = hopper::shared_address(memory);
  const Barriers barriers = {shared + Layout::kBarriers};
  const Tiles tiles(args);
  if (threadIdx.x == 0) barriers.init();
  __syncthreads();
  hopper::synchronize_cluster();
  if (threadIdx.x < kTeam) {
    hopper::give_registers<24>();
    if (threadIdx.x == 0) fetch_operands(args, tiles, shared, barriers);
    if (threadIdx.x == kWarpSize) fetch_gate_up(args, tiles, shared, barriers);
    __syncwarp();
  } else {
    hopper::take_registers<240>();
    Computer<T>(args, tiles, shared, barriers).run();
    __syncwarp();
  }
  hopper::synchronize_cluster();  // the other block writes into this one's shared memory no more
#endif
}

}  // namespace primus::ops::gpu::linear_swiglu
