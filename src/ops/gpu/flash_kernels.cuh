#pragma once

#include <cmath>

#include "ops/gpu/flash_support.cuh"

/// The three kernels, over a Tile. A block owns kOwnRows rows of one side (queries in forward and dq, keys in dk and
/// dv) and streams tiles of kStreamRows rows of the other side through shared memory, two stages deep. It is made of
/// teams of threads; a team owns kRows of the block's rows and computes kStrip columns of scores at a time. A Tile
/// offers:
///
///   Own, Stream          a tile in shared memory; copy fills it, rows that do not exist with zeros, which others see
///                        after wait_for_copies and a barrier
///   Left                 the team's rows of an Own tile as a left operand
///   multiply             scores (kRows, kStrip) = left · stripᵀ
///   accumulate           output (kRows, head_dim) += scores · strip
///   wait<n>              until all products but the last n are done: they may go on beside what follows
///   kLaneRows, kLaneColumns, row_of(i), column_of(j)
///                        a thread holds the scores of its kLaneRows rows and kLaneColumns columns, likewise of an
///                        output
///   row_max, row_sum     over the threads that share a row
///   kDotLanes, dot       a lane's part of the product of two rows in global memory
namespace primus::ops::gpu::flash {

template <typename Tile>
using Scores = float[Tile::kLaneRows][Tile::kLaneColumns];
template <typename Tile>
using Output = float[Tile::kLaneRows][Tile::kLaneOutputs];

/// One stage of the two: tiles of keys and values, or of queries and their output gradients.
template <typename Tile>
struct Stage {
  typename Tile::Stream first, second;
  static constexpr int kBytes = 2 * Tile::Stream::kBytes;

  __device__ Stage(unsigned char* stages, int index)
      : first(stages + index % 2 * kBytes), second(stages + index % 2 * kBytes + Tile::Stream::kBytes) {}
};

/// A block of query rows and what it sees, in forward and in the gradient of queries.
template <typename Tile>
struct QueryBlock {
  using Element = typename Tile::Element;
  int kv_head;
  Place place;
  HeadRows<const Element> q, k, v;

  /// Blocks go from the last tile to the first, so that those with many keys do not come last.
  template <typename Args>
  __device__ explicit QueryBlock(const Args& args)
      : kv_head(static_cast<int>(blockIdx.x) % args.shape.kv_heads),
        place(find_tile(args.shape, args.shape.group.size(), Tile::kOwnRows,
                        static_cast<int>(gridDim.x - 1 - blockIdx.x) / args.shape.kv_heads)),
        q(args.q, place, kv_head, args.shape.group, args.shape.head_dim),
        k(args.k, place, kv_head, QueryGroup(1), args.shape.head_dim),
        v(args.v, place, kv_head, QueryGroup(1), args.shape.head_dim) {}

  __device__ int team_row() const {
    return place.first_row + static_cast<int>(threadIdx.x) / Tile::kTeam * Tile::kRows;
  }
  __device__ int last_row() const { return min(place.first_row + Tile::kOwnRows, q.count) - 1; }
  __device__ int team_first_token() const { return q.group.token(team_row()); }
  __device__ int team_last_token() const { return q.group.token(min(team_row() + Tile::kRows - 1, last_row())); }
  /// Of keys, up to the last that a row of the block sees.
  __device__ int tiles() const { return q.group.token(last_row()) / Tile::kStreamRows + 1; }

  __device__ void copy_keys(unsigned char* stages, int tile) const {
    const Stage<Tile> stage(stages, tile);
    Tile::copy(stage.first, k, tile * Tile::kStreamRows);
    Tile::copy(stage.second, v, tile * Tile::kStreamRows);
  }
};

template <typename Tile>
constexpr int kForwardShared = Tile::Own::kBytes + 2 * Stage<Tile>::kBytes;

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    forward_kernel(const FlashForward<typename Tile::Element> args) {
  const QueryBlock<Tile> block(args);
  const Place& place = block.place;
  if (place.length == 0) return;
  const QueryGroup group = args.shape.group;

  extern __shared__ __align__(1024) unsigned char memory[];
  const typename Tile::Own q_tile(memory);
  unsigned char* const stages = memory + Tile::Own::kBytes;
  Tile::copy(q_tile, block.q, place.first_row);
  block.copy_keys(stages, 0);
  Tile::wait_for_copies();
  __syncthreads();

  const int team_row = block.team_row(), tiles = block.tiles();
  const int team_first_token = block.team_first_token(), team_last_token = block.team_last_token();
  int token[Tile::kLaneRows];
  float row_max[Tile::kLaneRows], row_sum[Tile::kLaneRows];  // the maximum in powers of two, scaled
#pragma unroll
  for (int i = 0; i < Tile::kLaneRows; ++i) {
    token[i] = group.token(team_row + Tile::row_of(i));
    row_max[i] = -INFINITY;
    row_sum[i] = 0.0F;
  }
  const float scale = args.shape.scale * kLog2E;
  const typename Tile::Left q_left(q_tile, static_cast<int>(threadIdx.x) / Tile::kTeam);
  Output<Tile> out = {};

  for (int tile = 0; tile < tiles; ++tile) {
    Tile::wait_for_copies();
    __syncthreads();
    if (tile + 1 < tiles) block.copy_keys(stages, tile + 1);
    const Stage<Tile> stage(stages, tile);
    for (int strip = 0; strip < Tile::kStreamRows; strip += Tile::kStrip) {
      const int first_key = tile * Tile::kStreamRows + strip;
      if (first_key > team_last_token) break;
      Scores<Tile> scores;
      Tile::multiply(scores, q_left, stage.first, strip);
      Tile::template wait<0>();
      if (first_key + Tile::kStrip - 1 > team_first_token) {
#pragma unroll
        for (int i = 0; i < Tile::kLaneRows; ++i) {
#pragma unroll
          for (int j = 0; j < Tile::kLaneColumns; ++j) {
            if (first_key + Tile::column_of(j) > token[i]) scores[i][j] = -INFINITY;
          }
        }
      }
#pragma unroll
      for (int i = 0; i < Tile::kLaneRows; ++i) {
        float highest = scores[i][0];
#pragma unroll
        for (int j = 1; j < Tile::kLaneColumns; ++j) highest = fmaxf(highest, scores[i][j]);
        highest = fmaxf(row_max[i], Tile::row_max(highest) * scale);
        const float correction = fast_exp2(row_max[i] - highest);
        row_max[i] = highest;
        float sum = 0.0F;
#pragma unroll
        for (int j = 0; j < Tile::kLaneColumns; ++j) {
          scores[i][j] = fast_exp2(scores[i][j] * scale - highest);
          sum += scores[i][j];
        }
        row_sum[i] = row_sum[i] * correction + sum;
#pragma unroll
        for (int j = 0; j < Tile::kLaneOutputs; ++j) out[i][j] *= correction;
      }
      Tile::accumulate(out, scores, stage.second, strip);
      Tile::template wait<0>();
    }
  }

  const RowStatistics statistics(args.lse_stride, place, block.kv_head, group);
#pragma unroll
  for (int i = 0; i < Tile::kLaneRows; ++i) {
    const float sum = Tile::row_sum(row_sum[i]), inverse = 1.0F / sum;
#pragma unroll
    for (int j = 0; j < Tile::kLaneOutputs; ++j) out[i][j] *= inverse;
    const int row = team_row + Tile::row_of(i);
    if (args.lse != nullptr && Tile::column_of(0) == 0 && row < block.q.count) {
      args.lse[statistics.at(row)] = row_max[i] * kLn2 + logf(sum);
    }
  }
  Tile::store(HeadRows<typename Tile::Element>(args.out, place, block.kv_head, group, args.shape.head_dim), team_row,
              out);
}

/// delta = Σ d_out · out of the block's rows, to shared memory and to global memory.
template <typename Tile>
__device__ void compute_delta(const FlashBackward<typename Tile::Element>& args, const Place& place, int kv_head,
                              float* shared) {
  using Element = typename Tile::Element;
  const int dim = args.shape.head_dim;
  const QueryGroup group = args.shape.group;
  const HeadRows<const Element> out(args.out, place, kv_head, group, dim),
      d_out(args.d_out, place, kv_head, group, dim);
  const RowStatistics statistics(args.shape.tokens, place, kv_head, group);
  constexpr int kRowsAtOnce = Tile::kThreads / Tile::kDotLanes;
  static_assert(Tile::kOwnRows % kRowsAtOnce == 0);
  const int lane = static_cast<int>(threadIdx.x) % Tile::kDotLanes;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x) / Tile::kDotLanes; i < Tile::kOwnRows; i += kRowsAtOnce) {
    const int row = place.first_row + i;
    float sum = row < out.count ? Tile::dot(out.at(row), d_out.at(row), lane, dim) : 0.0F;
    sum = lanes_sum(sum, Tile::kDotLanes);
    if (lane != 0) continue;
    shared[i] = sum;
    if (row < out.count) args.delta[statistics.at(row)] = sum;
  }
}

template <typename Tile>
constexpr int kBackwardQueriesShared = 2 * Tile::Own::kBytes + 2 * Stage<Tile>::kBytes +
                                       Tile::kOwnRows* static_cast<int>(sizeof(float));

/// dq = scale · Σ over keys of ds · k, where ds = p · (d_out · vᵀ − delta); delta on the way.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    backward_queries_kernel(const FlashBackward<typename Tile::Element> args) {
  const FlashShape& shape = args.shape;
  const QueryBlock<Tile> block(args);
  const Place& place = block.place;
  if (place.length == 0) return;
  const QueryGroup group = shape.group;
  const HeadRows<const typename Tile::Element> d_out(args.d_out, place, block.kv_head, group, shape.head_dim);

  extern __shared__ __align__(1024) unsigned char memory[];
  const typename Tile::Own q_tile(memory), d_out_tile(memory + Tile::Own::kBytes);
  unsigned char* const stages = memory + 2 * Tile::Own::kBytes;
  auto* const shared_delta = reinterpret_cast<float*>(stages + 2 * Stage<Tile>::kBytes);
  Tile::copy(q_tile, block.q, place.first_row);
  Tile::copy(d_out_tile, d_out, place.first_row);
  block.copy_keys(stages, 0);
  compute_delta<Tile>(args, place, block.kv_head, shared_delta);
  Tile::wait_for_copies();
  __syncthreads();

  const int team = static_cast<int>(threadIdx.x) / Tile::kTeam;
  const int team_row = block.team_row(), tiles = block.tiles();
  const int team_first_token = block.team_first_token(), team_last_token = block.team_last_token();
  const RowStatistics statistics(args.lse_stride, place, block.kv_head, group);
  int token[Tile::kLaneRows];
  float lse[Tile::kLaneRows], delta[Tile::kLaneRows];  // lse in powers of two
#pragma unroll
  for (int i = 0; i < Tile::kLaneRows; ++i) {
    const int row = team_row + Tile::row_of(i);
    token[i] = group.token(row);
    lse[i] = row < block.q.count ? args.lse[statistics.at(row)] * kLog2E : 0.0F;
    delta[i] = shared_delta[team * Tile::kRows + Tile::row_of(i)];
  }
  const float scale = shape.scale * kLog2E;
  const typename Tile::Left q_left(q_tile, team), d_out_left(d_out_tile, team);
  Output<Tile> d_q = {};

  for (int tile = 0; tile < tiles; ++tile) {
    Tile::wait_for_copies();
    __syncthreads();
    if (tile + 1 < tiles) block.copy_keys(stages, tile + 1);
    const Stage<Tile> stage(stages, tile);
    for (int strip = 0; strip < Tile::kStreamRows; strip += Tile::kStrip) {
      const int first_key = tile * Tile::kStreamRows + strip;
      if (first_key > team_last_token) break;
      Scores<Tile> scores, d_scores;
      Tile::multiply(scores, q_left, stage.first, strip);
      Tile::multiply(d_scores, d_out_left, stage.second, strip);
      Tile::template wait<1>();
#pragma unroll
      for (int i = 0; i < Tile::kLaneRows; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::kLaneColumns; ++j) scores[i][j] = fast_exp2(scores[i][j] * scale - lse[i]);
      }
      if (first_key + Tile::kStrip - 1 > team_first_token) {
#pragma unroll
        for (int i = 0; i < Tile::kLaneRows; ++i) {
#pragma unroll
          for (int j = 0; j < Tile::kLaneColumns; ++j) {
            if (first_key + Tile::column_of(j) > token[i]) scores[i][j] = 0.0F;
          }
        }
      }
      Tile::template wait<0>();
#pragma unroll
      for (int i = 0; i < Tile::kLaneRows; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::kLaneColumns; ++j) d_scores[i][j] = scores[i][j] * (d_scores[i][j] - delta[i]);
      }
      Tile::accumulate(d_q, d_scores, stage.first, strip);
      Tile::template wait<0>();
    }
  }
#pragma unroll
  for (int i = 0; i < Tile::kLaneRows; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kLaneOutputs; ++j) d_q[i][j] *= shape.scale;
  }
  Tile::store(HeadRows<typename Tile::Element>(args.d_q, place, block.kv_head, group, shape.head_dim), team_row, d_q);
}

/// Of the query rows of one stage.
template <typename Tile>
struct QueryStatistics {
  float *lse, *delta;
  int* token;
  static constexpr int kBytes = 3 * Tile::kStreamRows * static_cast<int>(sizeof(float));

  __device__ QueryStatistics(unsigned char* memory, int index)
      : lse(reinterpret_cast<float*>(memory + index % 2 * kBytes)),
        delta(lse + Tile::kStreamRows),
        token(reinterpret_cast<int*>(delta + Tile::kStreamRows)) {}
};

template <typename Tile>
constexpr int kBackwardKeysShared = 2 * Tile::Own::kBytes + 2 * Stage<Tile>::kBytes + 2 * QueryStatistics<Tile>::kBytes;

/// dv = Σ over query rows of p · d_out, dk = scale · Σ of ds · q, from the scores with keys as rows.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    backward_keys_kernel(const FlashBackward<typename Tile::Element> args) {
  const FlashShape& shape = args.shape;
  const QueryGroup group = shape.group;
  const int kv_head = static_cast<int>(blockIdx.x) % shape.kv_heads;
  // from the first tile to the last: the first keys are seen by the most queries
  const Place place = find_tile(shape, 1, Tile::kOwnRows, static_cast<int>(blockIdx.x) / shape.kv_heads);
  if (place.length == 0) return;
  const HeadRows<const typename Tile::Element> q(args.q, place, kv_head, group, shape.head_dim),
      d_out(args.d_out, place, kv_head, group, shape.head_dim),
      k(args.k, place, kv_head, QueryGroup(1), shape.head_dim),
      v(args.v, place, kv_head, QueryGroup(1), shape.head_dim);
  const int first_row = place.first_row * group.size();  // the first that sees a key of this block
  const int tiles = (q.count - first_row + Tile::kStreamRows - 1) / Tile::kStreamRows;
  const RowStatistics lse_of(args.lse_stride, place, kv_head, group), delta_of(shape.tokens, place, kv_head, group);

  extern __shared__ __align__(1024) unsigned char memory[];
  const typename Tile::Own k_tile(memory), v_tile(memory + Tile::Own::kBytes);
  unsigned char* const stages = memory + 2 * Tile::Own::kBytes;
  unsigned char* const stage_statistics = stages + 2 * Stage<Tile>::kBytes;
  const auto copy_stage = [&](int tile) {
    const Stage<Tile> stage(stages, tile);
    const QueryStatistics<Tile> statistics(stage_statistics, tile);
    const int from = first_row + tile * Tile::kStreamRows;
    Tile::copy(stage.first, q, from);
    Tile::copy(stage.second, d_out, from);
    static_assert(Tile::kStreamRows <= Tile::kThreads);
    if (const int i = static_cast<int>(threadIdx.x); i < Tile::kStreamRows) {
      // a row that does not exist has q = d_out = 0 and adds nothing
      const int row = from + i;
      const bool exists = row < q.count;
      copy_to_shared<4>(statistics.lse + i, args.lse + (exists ? lse_of.at(row) : 0), exists);
      copy_to_shared<4>(statistics.delta + i, args.delta + (exists ? delta_of.at(row) : 0), exists);
      statistics.token[i] = group.token(row);
    }
  };
  Tile::copy(k_tile, k, place.first_row);
  Tile::copy(v_tile, v, place.first_row);
  copy_stage(0);
  Tile::wait_for_copies();
  __syncthreads();

  const int team = static_cast<int>(threadIdx.x) / Tile::kTeam;
  const int team_key = place.first_row + team * Tile::kRows;
  const float scale = shape.scale * kLog2E;
  const typename Tile::Left k_left(k_tile, team), v_left(v_tile, team);
  Output<Tile> d_k = {}, d_v = {};

  for (int tile = 0; tile < tiles; ++tile) {
    Tile::wait_for_copies();
    __syncthreads();
    if (tile + 1 < tiles) copy_stage(tile + 1);
    const Stage<Tile> stage(stages, tile);
    const QueryStatistics<Tile> statistics(stage_statistics, tile);
    for (int strip = 0; strip < Tile::kStreamRows; strip += Tile::kStrip) {
      if (statistics.token[strip + Tile::kStrip - 1] < team_key) continue;
      Scores<Tile> scores, d_scores;
      Tile::multiply(scores, k_left, stage.first, strip);
      Tile::multiply(d_scores, v_left, stage.second, strip);
      Tile::template wait<1>();
#pragma unroll
      for (int j = 0; j < Tile::kLaneColumns; ++j) {
        const float lse = statistics.lse[strip + Tile::column_of(j)] * kLog2E;
#pragma unroll
        for (int i = 0; i < Tile::kLaneRows; ++i) scores[i][j] = fast_exp2(scores[i][j] * scale - lse);
      }
      if (statistics.token[strip] < team_key + Tile::kRows - 1) {
#pragma unroll
        for (int j = 0; j < Tile::kLaneColumns; ++j) {
          const int token = statistics.token[strip + Tile::column_of(j)];
#pragma unroll
          for (int i = 0; i < Tile::kLaneRows; ++i) {
            if (team_key + Tile::row_of(i) > token) scores[i][j] = 0.0F;
          }
        }
      }
      Tile::accumulate(d_v, scores, stage.second, strip);
      Tile::template wait<1>();
#pragma unroll
      for (int j = 0; j < Tile::kLaneColumns; ++j) {
        const float delta = statistics.delta[strip + Tile::column_of(j)];
#pragma unroll
        for (int i = 0; i < Tile::kLaneRows; ++i) d_scores[i][j] = scores[i][j] * (d_scores[i][j] - delta);
      }
      Tile::accumulate(d_k, d_scores, stage.first, strip);
      Tile::template wait<0>();
    }
  }
#pragma unroll
  for (int i = 0; i < Tile::kLaneRows; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kLaneOutputs; ++j) d_k[i][j] *= shape.scale;
  }
  Tile::store(HeadRows<typename Tile::Element>(args.d_k, place, kv_head, QueryGroup(1), shape.head_dim), team_key, d_k);
  Tile::store(HeadRows<typename Tile::Element>(args.d_v, place, kv_head, QueryGroup(1), shape.head_dim), team_key, d_v);
}

/// Makes the shared memory that the kernel needs available, and runs it.
template <typename Args>
void launch(gpuStream_t stream, void (*kernel)(Args), const Args& args, std::int64_t blocks, int threads, int shared) {
  GPU_CHECK(
      gpuFuncSetAttribute(reinterpret_cast<const void*>(kernel), gpuFuncAttributeMaxDynamicSharedMemorySize, shared));
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), static_cast<std::size_t>(shared), stream>>>(
      args);
}

template <typename Tile>
void launch_forward(gpuStream_t stream, const FlashForward<typename Tile::Element>& args) {
  const std::int64_t tiles = most_tiles(args.shape, args.shape.group.size(), Tile::kOwnRows);
  launch(stream, forward_kernel<Tile>, args, tiles * args.shape.kv_heads, Tile::kThreads, kForwardShared<Tile>);
}

template <typename QueriesTile, typename KeysTile>
void launch_backward(gpuStream_t stream, const FlashBackward<typename KeysTile::Element>& args) {
  const std::int64_t query_tiles = most_tiles(args.shape, args.shape.group.size(), QueriesTile::kOwnRows);
  launch(stream, backward_queries_kernel<QueriesTile>, args, query_tiles * args.shape.kv_heads, QueriesTile::kThreads,
         kBackwardQueriesShared<QueriesTile>);
  const std::int64_t key_tiles = most_tiles(args.shape, 1, KeysTile::kOwnRows);
  launch(stream, backward_keys_kernel<KeysTile>, args, key_tiles * args.shape.kv_heads, KeysTile::kThreads,
         kBackwardKeysShared<KeysTile>);
}

}  // namespace primus::ops::gpu::flash
