#pragma once

#include "ops/gpu/hopper.cuh"

/// SwiGLU in the products beside it, for Hopper: forward behind gate's and up's, backward behind the one that makes its
/// gradient, d_out = dy·W. Two warpgroups take turns: one multiplies a tile of 128 × 192 while the other does what
/// follows for its last one, so that memory and matrix units work at the same time. In forward a tile is 96 columns of
/// gate and the same of up; in backward chunks of gate and up are fetched and their gradients stored from their place.
///
/// Two blocks of a cluster have neighbouring rows; each fetches half of what they share of W for both.
namespace primus::ops::gpu::linear_swiglu {

using flash::lane_of_warp;
using flash::hopper::Barrier;
namespace hopper = flash::hopper;
namespace wgmma = flash::wgmma;

constexpr int kTeam = 128, kThreads = 3 * kTeam;  // a warpgroup; one fetches, two compute
constexpr int kCluster = 2;
constexpr int kRows = 128, kColumns = 192, kDepth = 64;  // of a product's tile, and of a stage
constexpr int kHalves = kRows / 64;
constexpr int kLane = kColumns / 4;  // sums that a thread has of a row
constexpr int kStages = 4;
constexpr int kBuffers = 2;       // in backward for both warpgroups, in forward for each
constexpr int kChunksOfRows = 3;  // a tile's width
constexpr int kChunks = kHalves * kChunksOfRows;

enum class Direction { kForward, kBackward };

/// Bytes and offsets in shared memory.
template <Direction kDirection>
struct Layout {
  static constexpr bool kIsForward = kDirection == Direction::kForward;
  static constexpr int kTileColumns = kIsForward ? kColumns / 2 : kColumns;  // of F
  static constexpr int kChunkColumns = kTileColumns / kChunksOfRows;
  static constexpr int kPanel = kDepth * 128;  // 64 columns of W, in backward
  static constexpr int kLeft = kRows * kDepth * 2, kWeight = kColumns * kDepth * 2, kStage = kLeft + kWeight;
  static constexpr int kChunk = 64 * kChunkColumns * 2, kBuffer = 3 * kChunk;  // gate, up, out
  static constexpr int kFirstBuffer = kStages * kStage;
  static constexpr int kBarriers = kFirstBuffer + (kIsForward ? 2 : 1) * kBuffers * kBuffer;
  static constexpr int kBytes = kBarriers + 2 * (kStages + kBuffers) * Barrier::kBytes;
};

struct Arguments {
  CUtensorMap left;               // x or dy
  CUtensorMap weights[kCluster];  // what each block of a cluster fetches: gate's and up's rows, or both the same
  CUtensorMap gate, up;           // backward's input
  CUtensorMap gate_out, up_out, out;
  bool has_out;      // always in backward
  int row_pairs;     // of 256 rows, a cluster's
  int column_tiles;  // of F
  int depth_tiles;   // of what is summed over
};

/// Clusters side by side have up to kGroup pairs of rows, and then the next columns, so that all find their operands in
/// the L2 cache.
constexpr int kGroup = 8;

struct Place {
  int row, column;
};

/// The tiles of a block: every so many from its cluster's number on.
template <Direction kDirection>
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
    return {((begin + rest % pairs) * kCluster + rank) * kRows, rest / pairs * Layout<kDirection>::kTileColumns};
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

/// This block's half of a stage of W, for both blocks of the cluster.
template <Direction kDirection>
__device__ void fetch_weight(const Arguments& args, int rank, int column, int depth, unsigned shared, Barrier full) {
  using Bytes = Layout<kDirection>;
  if constexpr (Bytes::kIsForward) {
    const unsigned to = shared + static_cast<unsigned>(rank * Bytes::kWeight / kCluster);
    hopper::copy_box_to_both(to, args.weights[rank], depth, column, full);
  } else {
    constexpr int kPart = kDepth / kCluster;
#pragma unroll
    for (int panel = 0; panel < kColumns / 64; ++panel) {
      const unsigned to = shared + static_cast<unsigned>(panel * Bytes::kPanel + rank * kPart * 128);
      hopper::copy_box_to_both(to, args.weights[rank], column + panel * 64, depth + rank * kPart, full);
    }
  }
}

/// One thread.
template <Direction kDirection>
__device__ void fetch_operands(const Arguments& args, const Tiles<kDirection>& tiles, unsigned shared,
                               Barriers barriers) {
  using Bytes = Layout<kDirection>;
  hopper::Turn<kStages> turn;
#pragma unroll 1
  for (int index = tiles.first; index < tiles.count; index += tiles.step) {
    const Place place = tiles.at(index);
#pragma unroll 1
    for (int depth = 0; depth < args.depth_tiles; ++depth) {
      const unsigned stage = shared + static_cast<unsigned>(turn.stage * Bytes::kStage);
      const Barrier full = barriers.full(turn.stage);
      barriers.empty(turn.stage).wait(turn.parity ^ 1U);
      full.arrive_and_expect(Bytes::kStage);
      hopper::copy_box(stage, args.left, depth * kDepth, place.row, full);
      fetch_weight<kDirection>(args, tiles.rank, place.column, depth * kDepth, stage + Bytes::kLeft, full);
      turn.advance();
    }
  }
}

/// Of a chunk of a tile.
template <Direction kDirection>
__device__ Place chunk_at(Place tile, int chunk) {
  return {tile.row + chunk / kChunksOfRows * 64,
          tile.column + chunk % kChunksOfRows * Layout<kDirection>::kChunkColumns};
}

/// One thread, in backward.
__device__ inline void fetch_gate_up(const Arguments& args, const Tiles<Direction::kBackward>& tiles, unsigned shared,
                                     Barriers barriers) {
  using Bytes = Layout<Direction::kBackward>;
  hopper::Turn<kBuffers> turn;
#pragma unroll 1
  for (int index = tiles.first; index < tiles.count; index += tiles.step) {
#pragma unroll 1
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const Place place = chunk_at<Direction::kBackward>(tiles.at(index), chunk);
      const unsigned buffer = shared + static_cast<unsigned>(Bytes::kFirstBuffer + turn.stage * Bytes::kBuffer);
      const Barrier full = barriers.buffer_full(turn.stage);
      barriers.buffer_empty(turn.stage).wait(turn.parity ^ 1U);
      full.arrive_and_expect(2 * Bytes::kChunk);
      hopper::copy_box(buffer, args.gate, place.column, place.row, full);
      hopper::copy_box(buffer + Bytes::kChunk, args.up, place.column, place.row, full);
      turn.advance();
    }
  }
}

// clang-format off
#define PRIMUS_SUMS_96 PRIMUS_SUMS_64, PRIMUS_SUMS_16(32), PRIMUS_SUMS_16(40)
#define PRIMUS_NAMES_96 \
  PRIMUS_NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
  "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
// a · b or, if `transposed` is "0", a · bᵀ: both in shared memory, 16 deep; the sums are kept if `adds`, else overwritten
#define PRIMUS_MULTIPLY_192(type, transposed) \
  PRIMUS_WGMMA("{.reg .pred adds; .reg .b64 a, b; setp.ne.b32 adds, %99, 0; mov.b64 a, {%96, %98}; mov.b64 b, {%97, %98}; " \
               "wgmma.mma_async.sync.aligned.m64n192k16.f32." type "." type " {" PRIMUS_NAMES_96 "}, a, b, adds, 1, 1, 0, " \
               transposed ";}" \
               : PRIMUS_SUMS_96 : "r"(a), "r"(b), "r"(wgmma::kDescriptorHigh), "r"(static_cast<int>(adds)))
// clang-format on
template <typename T, Direction kDirection>
__device__ void multiply(float (&sums)[2][kLane], unsigned a, unsigned b, bool adds) {
  constexpr bool kIsForward = kDirection == Direction::kForward;
  if constexpr (kIsForward && std::is_same_v<T, F16>) {
    PRIMUS_MULTIPLY_192("f16", "0");
  } else if constexpr (kIsForward) {
    PRIMUS_MULTIPLY_192("bf16", "0");
  } else if constexpr (std::is_same_v<T, F16>) {
    PRIMUS_MULTIPLY_192("f16", "1");
  } else {
    PRIMUS_MULTIPLY_192("bf16", "1");
  }
}

/// A tile's sums, 64 rows each.
using Sums = float[kHalves][2][kLane];

template <typename T, Direction kDirection>
__device__ void multiply_stage(Sums& sums, unsigned left, unsigned weight, bool adds) {
  constexpr unsigned kSixtyFourRows = 64 * 128 >> 4, kSixteenRows = 16 * 128 >> 4, kSixteenColumns = 32 >> 4;
  constexpr unsigned kStep = kDirection == Direction::kForward ? kSixteenColumns : kSixteenRows;
  wgmma::fence();
#pragma unroll
  for (unsigned step = 0; step < kDepth / 16; ++step) {
#pragma unroll
    for (unsigned half = 0; half < kHalves; ++half) {
      multiply<T, kDirection>(sums[half], left + half * kSixtyFourRows + step * kSixteenColumns, weight + step * kStep,
                              adds || step > 0);
    }
  }
  wgmma::commit();
}

/// 16 × 16 elements of each.
struct Fragments {
  mma::Fragment gate, up, out;
};

__device__ inline float sigmoid_of(float x) { return __fdividef(1.0F, 1.0F + fast_exp(-x)); }

/// From d_out, which begins at sums[…][first]; the gradients take the place of gate and up.
template <typename T>
__device__ void differentiate(Fragments& f, const float (&sums)[2][kLane], int first) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 gate = to_floats(Pair{f.gate.words[i]}, T{}), up = to_floats(Pair{f.up.words[i]}, T{});
    const float x[2] = {gate.x, gate.y}, y[2] = {up.x, up.y};
    float d_gate[2], d_up[2], out[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float d = sums[i % 2][first + i / 2 * 2 + j], sigmoid = sigmoid_of(x[j]), silu = x[j] * sigmoid;
      d_gate[j] = d * y[j] * (sigmoid + silu * (1.0F - sigmoid));
      d_up[j] = d * silu;
      out[j] = silu * y[j];
    }
    f.gate.words[i] = pair_of(d_gate[0], d_gate[1], T{}).bits;
    f.up.words[i] = pair_of(d_up[0], d_up[1], T{}).bits;
    f.out.words[i] = pair_of(out[0], out[1], T{}).bits;
  }
}

/// From gate, which begins at sums[…][first], and up, half a row further. Both are rounded before they are multiplied:
/// backward has no more of them.
template <typename T>
__device__ void activate(Fragments& f, const float (&sums)[2][kLane], int first) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* const gates = &sums[i % 2][first + i / 2 * 2];
    const float* const ups = gates + kLane / 2;
    const Pair gate = pair_of(gates[0], gates[1], T{}), up = pair_of(ups[0], ups[1], T{});
    const float2 x = to_floats(gate, T{}), y = to_floats(up, T{});
    f.gate.words[i] = gate.bits;
    f.up.words[i] = up.bits;
    f.out.words[i] = pair_of(x.x * sigmoid_of(x.x) * y.x, x.y * sigmoid_of(x.y) * y.y, T{}).bits;
  }
}

/// Names of barriers: a warpgroup's turn to multiply, and to have the buffers; its own.
constexpr int kMultiplies = 1, kHasBuffers = 3, kOwn = 5;
template <int kFirst>
__device__ void wait_for_turn(int team) {
  hopper::synchronize(kFirst + team, 2 * kTeam);
}
template <int kFirst>
__device__ void give_turn(int team) {
  hopper::signal(kFirst + (team ^ 1), 2 * kTeam);
}

/// One of the two warpgroups, which have every other tile.
template <typename T, Direction kDirection>
class Computer {
 public:
  using Bytes = Layout<kDirection>;

  __device__ Computer(const Arguments& args, const Tiles<kDirection>& tiles, unsigned shared, Barriers barriers)
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
      multiply_tile(sums, is_last);
      if (!Bytes::kIsForward && !is_first) wait_for_turn<kHasBuffers>(team_);
      finish(sums, tiles_.at(index));
      if (!Bytes::kIsForward && !is_last) give_turn<kHasBuffers>(team_);
      leave_to_the_other();
    }
    if (thread() == 0) hopper::wait_until_written();
  }

 private:
  __device__ static int thread() { return static_cast<int>(threadIdx.x) % kTeam; }

  /// Behind the stages and buffers of a tile.
  __device__ void leave_to_the_other() {
    stage_.advance(args_.depth_tiles);
    if (!Bytes::kIsForward) buffer_.advance(kChunks);
  }

  __device__ void multiply_tile(Sums& sums, bool is_last) {
    int before = 0;
#pragma unroll 1
    for (int depth = 0; depth < args_.depth_tiles; ++depth) {
      const unsigned left = shared_ + static_cast<unsigned>(stage_.stage * Bytes::kStage);
      barriers_.full(stage_.stage).wait(stage_.parity);
      multiply_stage<T, kDirection>(sums, wgmma::descriptor(left, 0),
                                    wgmma::descriptor(left + Bytes::kLeft, Bytes::kPanel), depth > 0);
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
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int number = (Bytes::kIsForward ? team_ * kBuffers : 0) + buffer_.stage;
      const unsigned buffer = shared_ + static_cast<unsigned>(Bytes::kFirstBuffer + number * Bytes::kBuffer);
      wait_for_buffer();
#pragma unroll
      for (int part = 0; part < Bytes::kChunkColumns / 16; ++part) {
        const int first = chunk % kChunksOfRows * (Bytes::kChunkColumns / 4) + part * 4;
        finish_part(sums[chunk / kChunksOfRows], first, buffer + place_of(part));
      }
      wgmma::publish();
      hopper::synchronize(kOwn + team_, kTeam);
      if (thread() == 0) store(buffer, chunk_at<kDirection>(tile, chunk));
      buffer_.advance();
    }
  }

  /// Until it holds gate and up, or what it held has been stored.
  __device__ void wait_for_buffer() const {
    if constexpr (Bytes::kIsForward) {
      if (thread() == 0) hopper::wait_until_read<kBuffers - 1>();
      hopper::synchronize(kOwn + team_, kTeam);
    } else {
      barriers_.buffer_full(buffer_.stage).wait(buffer_.parity);
    }
  }

  /// Of this lane's 16 bytes in 16 columns of a chunk, as mma::load and hopper::store take them (tensor_map.h).
  __device__ static unsigned place_of(int part) {
    constexpr int kRowBytes = Bytes::kChunkColumns * 2;
    const int row = thread() / kWarpSize * 16 + lane_of_warp() % 16;
    const int exchanged = kRowBytes == 128 ? row % 8 : row / 2 % 4;
    return static_cast<unsigned>(row * kRowBytes + ((part * 2 + lane_of_warp() / 16) ^ exchanged) * 16);
  }

  __device__ static void finish_part(const float (&sums)[2][kLane], int first, unsigned chunk) {
    Fragments f;
    if constexpr (Bytes::kIsForward) {
      activate<T>(f, sums, first);
    } else {
      f.gate = mma::load(chunk);
      f.up = mma::load(chunk + Bytes::kChunk);
      differentiate<T>(f, sums, first);
    }
    hopper::store(chunk, f.gate);
    hopper::store(chunk + Bytes::kChunk, f.up);
    hopper::store(chunk + 2 * Bytes::kChunk, f.out);
  }

  __device__ void store(unsigned buffer, Place place) const {
    hopper::store_box(args_.gate_out, place.column, place.row, buffer);
    hopper::store_box(args_.up_out, place.column, place.row, buffer + Bytes::kChunk);
    if (!Bytes::kIsForward || args_.has_out)
      hopper::store_box(args_.out, place.column, place.row, buffer + 2 * Bytes::kChunk);
    hopper::commit_stores();
    if constexpr (!Bytes::kIsForward) {
      hopper::wait_until_read();
      barriers_.buffer_empty(buffer_.stage).arrive();
    }
  }

  const Arguments& args_;
  const Tiles<kDirection>& tiles_;
  unsigned shared_;
  Barriers barriers_;
  int team_;
  hopper::Turn<kStages> stage_;
  hopper::Turn<kBuffers> buffer_;
};

template <typename T, Direction kDirection>
__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1)
    linear_swiglu_kernel(const __grid_constant__ Arguments args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) unsigned char memory[];
  const unsigned shared = hopper::shared_address(memory);
  const Barriers barriers = {shared + Layout<kDirection>::kBarriers};
  const Tiles<kDirection> tiles(args);
  if (threadIdx.x == 0) barriers.init();
  __syncthreads();
  hopper::synchronize_cluster();
  if (threadIdx.x < kTeam) {
    hopper::give_registers<24>();
    if (threadIdx.x == 0) fetch_operands(args, tiles, shared, barriers);
    if constexpr (kDirection == Direction::kBackward) {
      if (threadIdx.x == kWarpSize) fetch_gate_up(args, tiles, shared, barriers);
    }
    __syncwarp();
  } else {
    hopper::take_registers<240>();
    Computer<T, kDirection>(args, tiles, shared, barriers).run();
    __syncwarp();
  }
  hopper::synchronize_cluster();  // the other block writes into this one's shared memory no more
#endif
}

}  // namespace primus::ops::gpu::linear_swiglu
