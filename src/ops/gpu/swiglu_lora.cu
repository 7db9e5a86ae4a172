#include <limits>

#include "ops/gpu/async_copy.cuh"
#include "ops/gpu/mma.cuh"
#include "ops/gpu/table.h"

/// A strip is 128 columns of the MLP; a block walks down strips in tiles of 32 rows, a warp has 16 columns of its
/// strip. A warp holds its part of a tile transposed (columns of the MLP down, rows across), as ldmatrix can read it,
/// because then the elements it has computed are the left operands of the products that sum over rows:
///   d = d_out + Aᵀ·duᵀ;  dAᵀ += outᵀ·du;  dB_gate += d_gateᵀ·u_gate;  dB_up += d_upᵀ·u_up
/// All tiles of all strips, in order, are dealt evenly to the blocks. What a block has summed of a strip goes to the
/// workspace, and a second kernel adds these parts in order.
namespace primus::ops::gpu {
namespace {

constexpr int kStrip = 128;
constexpr int kTileRows = 32;
constexpr int kWarpColumns = 16;
constexpr int kThreads = kStrip / kWarpColumns * 32;
constexpr int kSums = 3;  // dA, dB of gate, dB of up

template <typename T>
struct Job {
  static_assert(std::disjunction_v<std::is_same<T, BF16>, std::is_same<T, F16>>);
  Rows<const T> d_out, du, a, gate_up, u_gate, u_up;
  Rows<T> d_gate_up;
  int tokens;
  int width;    // F
  int rank;     // of du
  int b_rank;   // of u_gate and u_up
  int tiles;    // of a strip
  float* sums;  // a slot for each pair of a block and a strip it works on, (kSums, rank, kStrip)
};

/// The first of `items` things that block `block` of `blocks` works on.
__device__ inline int first_item(Index block, Index items, Index blocks) {
  return static_cast<int>(block * items / blocks);
}
__device__ inline Index block_of_item(Index item, Index items, Index blocks) {
  return ((item + 1) * blocks - 1) / items;
}
/// Different for all pairs, as a block works on consecutive strips.
__device__ inline Index slot_of(Index block, Index strip) { return block + strip; }

/// Rows of kColumns elements in shared memory, whose 16-byte chunks are exchanged so that a chunk of eight rows, as
/// ldmatrix reads it, lies in different banks.
template <int kColumns>
struct Tile {
  static constexpr int kChunks = kColumns / 8;
  static constexpr int kRowBytes = kColumns * 2;
  static constexpr int kBytes = kTileRows * kRowBytes;
  static constexpr int kRowsOfBanks = kChunks >= 8 ? 1 : 8 / kChunks;  // that all banks hold
  static constexpr int kRowsAtOnce = kThreads / kChunks;               // that the block's threads have a chunk of
  unsigned char* data;

  /// Chunk `chunk ^ lane_chunk` of row `row + lane_row`; 8 divides `row`. What differs by lane stands apart so that it
  /// is computed once.
  __device__ __forceinline__ unsigned char* at(int row, int chunk, int lane_row, int lane_chunk = 0) const {
    const int exchanged = chunk ^ lane_chunk ^ (lane_row / kRowsOfBanks % 8 % kChunks);
    return data + row * kRowBytes + (lane_row * kRowBytes + exchanged * 16);
  }
  /// The chunk that this lane addresses of the 16 × 16 elements at (row, 8·chunk); 2 divides `chunk`.
  __device__ __forceinline__ const unsigned char* of_lane(int row, int chunk) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return at(row, chunk, lane / 16 * 8 + lane % 8, lane / 8 % 2);
  }

  /// body(row, row of the thread, chunk of the thread) until all chunks have had their thread.
  template <typename Body>
  __device__ __forceinline__ static void for_chunks(const Body& body) {
    const int thread_row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks;
    if (kRowsAtOnce > kTileRows && thread_row >= kTileRows) return;
#pragma unroll
    for (int row = 0; row < kTileRows; row += kRowsAtOnce) body(row, thread_row, chunk);
  }
  /// Rows first … of columns begin …; what is not there becomes zero.
  template <typename T>
  __device__ __forceinline__ void copy(const Rows<const T>& from, int first, int rows, int begin, int end) const {
    for_chunks([&](int row, int thread_row, int chunk) {
      const int column = begin + chunk * 8;
      const bool exists = first + thread_row + row < rows && column < end;
      copy_to_shared<16>(at(row, chunk, thread_row),
                         exists ? from.at(first + thread_row, column) + row * from.stride : from.data, exists);
    });
  }
  template <typename T>
  __device__ __forceinline__ void write(const Rows<T>& to, int first, int rows, int begin, int end, int offset) const {
    for_chunks([&](int row, int thread_row, int chunk) {
      const int column = begin + chunk * 8;
      if (first + thread_row + row >= rows || column >= end) return;
      *reinterpret_cast<uint4*>(to.at(first + thread_row, offset + column) + row * to.stride) =
          *reinterpret_cast<const uint4*>(at(row, chunk, thread_row));
    });
  }
};

/// A tile of a strip and the stage it passes through, for all items of a block in turn.
struct Place {
  int strip, tile;
  int stage = 0;

  __device__ __forceinline__ Place(int item, int tiles) : strip(item / tiles), tile(item % tiles) {}
  __device__ __forceinline__ void advance(int tiles, int stages) {
    stage = stage + 1 == stages ? 0 : stage + 1;
    if (++tile < tiles) return;
    tile = 0;
    ++strip;
  }
};

template <int kRank>
struct Stage {
  static constexpr int kBytes = 3 * Tile<kStrip>::kBytes + 3 * Tile<kRank>::kBytes;
  Tile<kStrip> d, gate, up;
  Tile<kRank> du, u_gate, u_up;

  __device__ __forceinline__ explicit Stage(unsigned char* memory)
      : d{memory},
        gate{d.data + d.kBytes},
        up{gate.data + gate.kBytes},
        du{up.data + up.kBytes},
        u_gate{du.data + du.kBytes},
        u_up{u_gate.data + u_gate.kBytes} {}

  template <typename T>
  __device__ __forceinline__ void copy(const Job<T>& job, const Place& place) const {
    const int row = place.tile * kTileRows, column = place.strip * kStrip;
    const Rows<const T> ups = {job.gate_up.data + job.width, job.gate_up.stride};
    d.copy(job.d_out, row, job.tokens, column, job.width);
    gate.copy(job.gate_up, row, job.tokens, column, job.width);
    up.copy(ups, row, job.tokens, column, job.width);
    du.copy(job.du, row, job.tokens, 0, job.rank);
    u_gate.copy(job.u_gate, row, job.tokens, 0, job.b_rank);
    u_up.copy(job.u_up, row, job.tokens, 0, job.b_rank);
  }
};

/// Stages and blocks of a multiprocessor: two blocks hide each other's barriers, where the sums leave registers for it.
template <int kRank>
constexpr int kBlocks = kRank > 32 ? 1 : 2;
template <int kRank>
constexpr int kStages = kRank > 32 ? 4 : 3;
template <int kRank>
constexpr int kSharedBytes = kStages<kRank>* Stage<kRank>::kBytes;

/// A warp's sums over rows, (16 columns, kRank) each.
template <int kRank>
struct Sums {
  float values[kSums][kRank / 8][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (auto& sum : values) {
#pragma unroll
      for (auto& tile : sum) {
#pragma unroll
        for (float& value : tile) value = 0.0F;
      }
    }
  }

  /// dA as (kRank, kStrip), the others as (kStrip, kRank).
  __device__ __forceinline__ void write(float* slot) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = static_cast<int>(threadIdx.x) / 32 * kWarpColumns + lane / 4;
#pragma unroll
    for (int n = 0; n < kRank / 8; ++n) {
      const int r = 8 * n + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < 4; ++i) slot[(r + i % 2) * kStrip + column + i / 2 * 8] = values[0][n][i];
#pragma unroll
      for (int b = 1; b < kSums; ++b) {
        float* const to = slot + b * kRank * kStrip;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          *reinterpret_cast<float2*>(to + (column + 8 * half) * kRank + r) = {values[b][n][2 * half],
                                                                              values[b][n][2 * half + 1]};
        }
      }
    }
  }
};

/// Aᵀ of a warp's columns, as left operands.
template <typename T, int kRank>
struct DownAdapter {
  mma::Fragment fragments[kRank / 16];

  __device__ __forceinline__ void load(const Job<T>& job, int first_column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const auto element = [&](int r, int column) -> std::uint32_t {
      return r < job.rank && column < job.width ? job.a.at(r, column)->bits : 0;
    };
#pragma unroll
    for (int k = 0; k < kRank / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = 16 * k + i / 2 * 8 + lane % 4 * 2, column = first_column + lane / 4 + i % 2 * 8;
        fragments[k].words[i] = element(r, column) | element(r + 1, column) << 16;
      }
    }
  }
};

/// sums += values · right, over the 16 rows of `right` that begin with `row`.
template <typename T, int kRank>
__device__ __forceinline__ void add_product(float (&sums)[kRank / 8][4], const mma::Fragment& values,
                                            const Tile<kRank>& right, int row) {
#pragma unroll
  for (int pair = 0; pair < kRank / 16; ++pair) {
    const mma::Fragment b = mma::load_transposed(right.of_lane(row, 2 * pair));
    mma::multiply_add<T>(sums[2 * pair], values, b.words[0], b.words[2]);
    mma::multiply_add<T>(sums[2 * pair + 1], values, b.words[1], b.words[3]);
  }
}

/// Writes a warp's transposed elements of the 16 rows that begin with `row`.
__device__ __forceinline__ void put(const Tile<kStrip>& tile, const mma::Fragment& values, int row, int chunk) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int next = 0; next < 2; ++next) {
      unsigned char* const elements = tile.at(row + i / 2 * 8, chunk, lane % 4 * 2 + next, i % 2);
      reinterpret_cast<std::uint16_t*>(elements)[lane / 4] = static_cast<std::uint16_t>(values.words[i] >> (16 * next));
    }
  }
}

/// 1 / (1 + exp(−x)), with an error of about |x| units of f32.
__device__ __forceinline__ float fast_sigmoid(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(1.0F + fast_exp(-x)));
  return result;
}

/// One warp's columns of 16 rows of a tile; d_gate and d_up take the places of gate and up.
template <typename T, int kRank>
__device__ __forceinline__ void compute(const Stage<kRank>& stage, const DownAdapter<T, kRank>& a, Sums<kRank>& sums,
                                        int row) {
  const int chunk = static_cast<int>(threadIdx.x) / 32 * (kWarpColumns / 8);
  const mma::Fragment d_words = mma::load_transposed(stage.d.of_lane(row, chunk));
  float d[2][4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = to_floats(Pair{d_words.words[i]}, T{});
    d[i / 2][i % 2 * 2] = pair.x;
    d[i / 2][i % 2 * 2 + 1] = pair.y;
  }
#pragma unroll
  for (int k = 0; k < kRank / 16; ++k) {
    const mma::Fragment b = mma::load(stage.du.of_lane(row, 2 * k));
    mma::multiply_add<T>(d[0], a.fragments[k], b.words[0], b.words[1]);
    mma::multiply_add<T>(d[1], a.fragments[k], b.words[2], b.words[3]);
  }
  const mma::Fragment gate_words = mma::load_transposed(stage.gate.of_lane(row, chunk));
  const mma::Fragment up_words = mma::load_transposed(stage.up.of_lane(row, chunk));
  mma::Fragment out, d_gate, d_up;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 gates = to_floats(Pair{gate_words.words[i]}, T{}), ups = to_floats(Pair{up_words.words[i]}, T{});
    float results[3][2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float gradient = d[i / 2][i % 2 * 2 + e];
      const float gate = e == 0 ? gates.x : gates.y, up = e == 0 ? ups.x : ups.y;
      const float sigmoid = fast_sigmoid(gate), silu = gate * sigmoid;
      results[0][e] = silu * up;
      results[1][e] = gradient * up * (sigmoid + silu * (1.0F - sigmoid));
      results[2][e] = gradient * silu;
    }
    out.words[i] = pair_of(results[0][0], results[0][1], T{}).bits;
    d_gate.words[i] = pair_of(results[1][0], results[1][1], T{}).bits;
    d_up.words[i] = pair_of(results[2][0], results[2][1], T{}).bits;
  }
  __syncwarp();  // all lanes have read what is written over
  put(stage.gate, d_gate, row, chunk);
  put(stage.up, d_up, row, chunk);
  add_product<T>(sums.values[0], out, stage.du, row);
  add_product<T>(sums.values[1], d_gate, stage.u_gate, row);
  add_product<T>(sums.values[2], d_up, stage.u_up, row);
}

template <typename T, int kRank>
__global__ void __launch_bounds__(kThreads, kBlocks<kRank>)
    swiglu_lora_kernel(const __grid_constant__ Job<T> job, int items) {
  extern __shared__ __align__(128) unsigned char memory[];
  constexpr int kCount = kStages<kRank>;
  const auto stage_at = [](const Place& place) { return Stage<kRank>(memory + place.stage * Stage<kRank>::kBytes); };
  const int begin = first_item(blockIdx.x, items, gridDim.x), end = first_item(blockIdx.x + 1, items, gridDim.x);
  const auto slot_of_strip = [&](int strip) { return job.sums + slot_of(blockIdx.x, strip) * kSums * kRank * kStrip; };

  Place copied(begin, job.tiles), place = copied;
  const auto copy_next = [&](int item) {
    if (item < end) stage_at(copied).copy(job, copied);
    end_group_of_copies();
    copied.advance(job.tiles, kCount);
  };
  for (int ahead = 0; ahead < kCount - 1; ++ahead) copy_next(begin + ahead);
  Sums<kRank> sums;
  DownAdapter<T, kRank> a;
  int strip = -1;
  for (int item = begin; item < end; ++item) {
    wait_for_groups_of_copies<kCount - 2>();
    __syncthreads();  // the tile is there, and nobody needs the one before, whose place is filled next
    copy_next(item + kCount - 1);
    if (place.strip != strip) {
      if (strip >= 0) sums.write(slot_of_strip(strip));
      strip = place.strip;
      sums.clear();
      a.load(job, strip * kStrip + static_cast<int>(threadIdx.x) / 32 * kWarpColumns);
    }
    const Stage<kRank> stage = stage_at(place);
#pragma unroll
    for (int row = 0; row < kTileRows; row += 16) compute<T>(stage, a, sums, row);
    __syncthreads();
    const int row = place.tile * kTileRows;
    stage.gate.write(job.d_gate_up, row, job.tokens, strip * kStrip, job.width, 0);
    stage.up.write(job.d_gate_up, row, job.tokens, strip * kStrip, job.width, job.width);
    place.advance(job.tiles, kCount);
  }
  sums.write(slot_of_strip(strip));
}

/// Where a sum goes: gradient[row, column] = or += scale · Σ of the slots.
struct Target {
  GradientTarget gradient;
  Index stride;
  int rows;
  int columns;
  float scale;
};
struct Targets {
  Target of[kSums];
};

template <int kRank>
__global__ void __launch_bounds__(kBlockThreads)
    sum_slots_kernel(const float* slots, const __grid_constant__ Targets targets, int tiles, Index items, Index blocks,
                     bool accumulate) {
  const Index strip = blockIdx.x;
  const int sum = static_cast<int>(blockIdx.y);
  const int element = static_cast<int>(blockIdx.z * kBlockThreads + threadIdx.x);
  const Target& target = targets.of[sum];
  const int first = static_cast<int>(strip) * kStrip;
  const int row = sum == 0 ? element / kStrip : first + element / kRank;
  const int column = sum == 0 ? first + element % kStrip : element % kRank;
  if (row >= target.rows || column >= target.columns) return;
  const Index last_block = block_of_item((strip + 1) * tiles - 1, items, blocks);
  float total = 0.0F;
  for (Index block = block_of_item(strip * tiles, items, blocks); block <= last_block; ++block) {
    total += slots[(slot_of(block, strip) * kSums + sum) * kRank * kStrip + element];
  }
  target.gradient.put(row * target.stride + column, total * target.scale, accumulate);
}

Target target_of(const Tensor& gradient, float scale) {
  return {.gradient = GradientTarget(gradient),
          .stride = gradient.row_stride(),
          .rows = static_cast<int>(gradient.rows()),
          .columns = static_cast<int>(gradient.columns()),
          .scale = scale};
}

template <typename T, int kRank>
bool run(Stream& stream, const SwigluLoraBackward& args) {
  const auto kernel = swiglu_lora_kernel<T, kRank>;
  constexpr std::size_t kBytes = kSharedBytes<kRank>;
  if (kBytes > limits_of(stream).shared_memory_per_block) return false;
  const gpuStream_t on = stream_of(stream);
  GPU_CHECK(gpuFuncSetAttribute(kernel, gpuFuncAttributeMaxDynamicSharedMemorySize, kBytes));

  const Index tokens = args.d_out.rows(), width = args.d_out.columns();
  const Index strips = divide_up(width, kStrip), tiles = divide_up(tokens, kTileRows), items = strips * tiles;
  const Workspace workspace = workspace_of(stream);
  const Index slots = static_cast<Index>(workspace.bytes / (sizeof(float) * kSums * kRank * kStrip));
  const Index blocks = std::min({items, resident_blocks(stream, kernel, kThreads, kBytes), slots - strips});
  if (blocks < 1 || items > std::numeric_limits<int>::max()) return false;

  const Job<T> job = {.d_out = rows_of<const T>(args.d_out),
                      .du = rows_of<const T>(args.du),
                      .a = rows_of<const T>(args.a),
                      .gate_up = rows_of<const T>(args.gate_up),
                      .u_gate = rows_of<const T>(args.u_gate),
                      .u_up = rows_of<const T>(args.u_up),
                      .d_gate_up = rows_of<T>(args.d_gate_up),
                      .tokens = static_cast<int>(tokens),
                      .width = static_cast<int>(width),
                      .rank = static_cast<int>(args.du.columns()),
                      .b_rank = static_cast<int>(args.u_gate.columns()),
                      .tiles = static_cast<int>(tiles),
                      .sums = static_cast<float*>(workspace.data)};
  const Observed observed(stream, WorkKind::kElementwise, "swiglu_lora_backward");
  kernel<<<static_cast<unsigned>(blocks), kThreads, kBytes, on>>>(job, static_cast<int>(items));
  GPU_LAUNCH_CHECK(stream, "swiglu_lora_backward");

  const Targets targets = {
      {target_of(args.d_a, 1.0F), target_of(args.d_b_gate, args.scale), target_of(args.d_b_up, args.scale)}};
  const dim3 grid(static_cast<unsigned>(strips), kSums, kRank * kStrip / kBlockThreads);
  sum_slots_kernel<kRank><<<grid, kBlockThreads, 0, on>>>(job.sums, targets, job.tiles, items, blocks, args.accumulate);
  GPU_LAUNCH_CHECK(stream, "swiglu_lora_backward, sums");
  return true;
}

template <typename T>
bool run(Stream& stream, const SwigluLoraBackward& args) {
  const Index rank = std::max(args.du.columns(), args.u_gate.columns());
  if (rank <= 16) return run<T, 16>(stream, args);
  if (rank <= 32) return run<T, 32>(stream, args);
  if (rank <= 64) return run<T, 64>(stream, args);
  return false;
}

}  // namespace

bool swiglu_lora_backward(Stream& stream, const SwigluLoraBackward& args) {
  const Index width = args.d_out.columns();
  if (!packs_fit(8, args.d_out, args.du, args.gate_up.columns(0, width), args.gate_up.columns(width, 2 * width),
                 args.d_gate_up.columns(0, width), args.d_gate_up.columns(width, 2 * width), args.u_gate, args.u_up)) {
    return false;
  }
  switch (args.d_out.dtype()) {
    case DType::kBF16:
      return run<BF16>(stream, args);
    case DType::kF16:
      return run<F16>(stream, args);
    default:
      return false;
  }
}

}  // namespace primus::ops::gpu
