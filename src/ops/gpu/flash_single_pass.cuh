#pragma once

#include "ops/gpu/hopper.cuh"

/// Backward in one pass over the scores (5 products), after FlashAttention-3 (Shah et al. 2024): a block owns 128 keys
/// of a key/value head and streams tiles of 64 queries of each query head that reads it. dk and dv stay in registers;
/// dq is added up in f32 in global memory, in no fixed order.
///
/// One warp fetches tiles with the copy engine, one their statistics; two warpgroups have 64 keys each. They compute
/// scores with keys as rows, so that p and ds, rounded, are left operands of dv += pᵀ·d_out and dk += dsᵀ·q in
/// registers. ds goes through shared memory to dq = ds·k, of which each warpgroup has 64 columns.
///
/// Rows behind a document's end are read too (of the next one, or zeros behind the last) and weigh nothing: finite
/// numbers of other documents change no bit, but one that is not finite spoils its neighbour, too, of a step that is
/// lost anyway.
namespace primus::ops::gpu::flash {

/// dq on its way: rows of 64 sums for each half of a query head.
struct QuerySums {
  float* data;  // (heads, 2, tokens, 64)
  std::int64_t tokens;

  __host__ __device__ float* at(int head, int half, std::int64_t token) const {
    return data + ((static_cast<std::int64_t>(head) * 2 + half) * tokens + token) * 64;
  }
  /// In a row, a lane's four sums of columns 16·part + {0, 1, 8, 9} + 2·(lane % 4) are neighbours; parts are exchanged
  /// so that neighbouring rows lie in different banks.
  __device__ static int place(std::int64_t token, int part) { return (part ^ static_cast<int>(token & 1)) * 16; }
};

template <typename T>
struct SinglePass {
  CUtensorMap q, k, v, d_out;
  FlashBackward<T> backward;
  float *negative_lse, *negative_delta;  // (heads, tokens), lse in powers of two
  QuerySums d_q;
  int key_tiles;  // the most that there can be
  int split;      // 2: the query heads of a key/value head are shared out to a cluster of two blocks
};

namespace single_pass {

constexpr int kDim = 128, kKeys = 128, kQueries = 64;
constexpr int kConsumers = 256, kThreads = kConsumers + 128;
constexpr int kQStages = 3, kOutStages = 2;
constexpr int kConsumersBarrier = 1;

template <typename T>
using KeyTile = PanelTile<T, kKeys, kDim>;
template <typename T>
using QueryTile = PanelTile<T, kQueries, kDim>;

/// Of a stage.
struct Statistics {
  float negative_lse[kQueries], negative_delta[kQueries];
};

/// Offsets in shared memory.
struct Layout {
  static constexpr int kTile = kQueries * kDim * 2;
  static constexpr int kK = 0, kV = kK + kKeys * kDim * 2, kQ = kV + kKeys * kDim * 2, kOut = kQ + kQStages * kTile;
  static constexpr int kScores = kOut + kOutStages * kTile;  // ds, twice
  static constexpr int kScoresBytes = kKeys * kQueries * 2;
  static constexpr int kSums = kScores + 2 * kScoresBytes;  // dq on its way
  static constexpr int kSumsOfWarp = 16 * 64 * 4;
  static constexpr int kStatistics = kSums + kConsumers / kWarpSize * kSumsOfWarp;
  static constexpr int kBarriers = kStatistics + kQStages * static_cast<int>(sizeof(Statistics));
  static constexpr int kBytes = kBarriers + (1 + 2 * kQStages + 2 * kOutStages) * hopper::Barrier::kBytes;
};

struct Barriers {
  unsigned first;
  __device__ hopper::Barrier at(int i) const { return hopper::Barrier(first + static_cast<unsigned>(i) * 8U); }
  __device__ hopper::Barrier keys() const { return at(0); }
  __device__ hopper::Barrier q_full(int stage) const { return at(1 + stage); }
  __device__ hopper::Barrier q_empty(int stage) const { return at(1 + kQStages + stage); }
  __device__ hopper::Barrier out_full(int stage) const { return at(1 + 2 * kQStages + stage); }
  __device__ hopper::Barrier out_empty(int stage) const { return at(1 + 2 * kQStages + kOutStages + stage); }
};

/// What a block works on.
struct Work {
  int rank;  // in the cluster
  int kv_head;
  Place place;
  int first_head, heads;  // of queries
  int tiles;              // of queries, of one head

  template <typename T>
  __device__ explicit Work(const SinglePass<T>& args) {
    const FlashShape& shape = args.backward.shape;
    const int block = static_cast<int>(blockIdx.x), cluster = args.split == 1 ? block : block / 2;
    const int group = shape.group.size(), most_heads = args.split == 1 ? group : (group + 1) / 2;
    rank = args.split == 1 ? 0 : block % 2;
    // blocks of different heads run side by side: those of one add to the same sums, which costs more than the bytes
    kv_head = cluster % shape.kv_heads;
    place = find_tile(shape, 1, kKeys, cluster / shape.kv_heads);
    first_head = kv_head * group + rank * most_heads;
    heads = rank == 0 ? most_heads : group - most_heads;
    tiles = (place.length - place.first_row + kQueries - 1) / kQueries;
  }

  __device__ int first_key() const { return place.first_token + place.first_row; }
};

/// body(head, tile) for all tiles in the order in which they are streamed.
template <typename Body>
__device__ void for_each_tile(const Work& work, const Body& body) {
#pragma unroll 1
  for (int head = 0; head < work.heads; ++head) {
#pragma unroll 1
    for (int tile = 0; tile < work.tiles; ++tile) body(work.first_head + head, tile);
  }
}

template <int kRows>
__device__ void copy_tile(unsigned shared, const CUtensorMap& map, int head, int row, hopper::Barrier barrier) {
#pragma unroll
  for (int panel = 0; panel < kDim / 64; ++panel) {
    hopper::copy_box(shared + panel * kRows * 128, map, head * kDim + panel * 64, row, barrier);
  }
}

/// One thread.
template <typename T>
__device__ void fetch_tiles(const SinglePass<T>& args, const Work& work, unsigned shared, Barriers barriers) {
  barriers.keys().arrive_and_expect(2 * kKeys * kDim * 2);
  copy_tile<kKeys>(shared + Layout::kK, args.k, work.kv_head, work.first_key(), barriers.keys());
  copy_tile<kKeys>(shared + Layout::kV, args.v, work.kv_head, work.first_key(), barriers.keys());
  hopper::Turn<kQStages> q;
  hopper::Turn<kOutStages> out;
  for_each_tile(work, [&](int head, int tile) {
    const int row = work.first_key() + tile * kQueries;
    barriers.q_empty(q.stage).wait(q.parity ^ 1U);
    barriers.q_full(q.stage).arrive_and_expect(Layout::kTile);
    copy_tile<kQueries>(shared + Layout::kQ + q.stage * Layout::kTile, args.q, head, row, barriers.q_full(q.stage));
    barriers.out_empty(out.stage).wait(out.parity ^ 1U);
    barriers.out_full(out.stage).arrive_and_expect(Layout::kTile);
    copy_tile<kQueries>(shared + Layout::kOut + out.stage * Layout::kTile, args.d_out, head, row,
                        barriers.out_full(out.stage));
    q.advance();
    out.advance();
  });
}

/// One warp. Rows behind the document's end get a weight of zero.
template <typename T>
__device__ void fetch_statistics(const SinglePass<T>& args, const Work& work, Statistics* stages, Barriers barriers) {
  const int lane = lane_of_warp();
  hopper::Turn<kQStages> q;
  for_each_tile(work, [&](int head, int tile) {
    float lse[2], delta[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = work.place.first_row + tile * kQueries + i * kWarpSize + lane;
      const bool exists = row < work.place.length;
      const std::int64_t at = head * args.d_q.tokens + work.place.first_token + row;
      lse[i] = exists ? args.negative_lse[at] : -INFINITY;
      delta[i] = exists ? args.negative_delta[at] : 0.0F;
    }
    barriers.q_empty(q.stage).wait(q.parity ^ 1U);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      stages[q.stage].negative_lse[i * kWarpSize + lane] = lse[i];
      stages[q.stage].negative_delta[i * kWarpSize + lane] = delta[i];
    }
    barriers.q_full(q.stage).arrive();
    q.advance();
  });
}

// clang-format off
// sums = aᵀ · b, 64 columns of each and 16 rows in shared memory; the sums are kept if `adds`, else overwritten
#define PRIMUS_MULTIPLY_COLUMNS(type) \
  PRIMUS_WGMMA("{.reg .pred adds; .reg .b64 a, b; setp.ne.b32 adds, %35, 0; mov.b64 a, {%32, %34}; mov.b64 b, {%33, %34}; " \
               "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" PRIMUS_NAMES_32 "}, a, b, adds, 1, 1, 1, 1;}" \
               : PRIMUS_SUMS_32 : "r"(a), "r"(b), "r"(wgmma::kDescriptorHigh), "r"(static_cast<int>(adds)))
// clang-format on
template <typename T>
__device__ void multiply_columns(float (&sums)[2][16], unsigned a, unsigned b, bool adds) {
  if constexpr (std::is_same_v<T, F16>) {
    PRIMUS_MULTIPLY_COLUMNS("f16");
  } else {
    PRIMUS_MULTIPLY_COLUMNS("bf16");
  }
}

/// What to add to a descriptor of a tile with rows of kDim for the columns from 16 · depth on.
template <typename Tile>
__device__ constexpr unsigned columns_in(int depth) {
  return static_cast<unsigned>(depth / 4 * Tile::kPanelBytes + depth % 4 * 32) >> 4;
}
constexpr unsigned kSixteenRows = 16 * 128 >> 4;

/// The products of a warpgroup; `keys` and `queries` are descriptors of its rows of k or v, and of a tile of q or
/// d_out.
template <typename T>
__device__ void multiply_tiles(float (&scores)[2][16], unsigned keys, unsigned queries) {
  wgmma::fence();
#pragma unroll
  for (int depth = 0; depth < kDim / 16; ++depth) {
    wgmma::multiply<T>(scores, keys + columns_in<KeyTile<T>>(depth), queries + columns_in<QueryTile<T>>(depth),
                       depth > 0);
  }
  wgmma::commit();
}
template <typename T>
__device__ void accumulate_tile(float (&sums)[2][32], const mma::Fragment (&weights)[4], unsigned queries) {
  wgmma::fence();
#pragma unroll
  for (int depth = 0; depth < kQueries / 16; ++depth) {
    wgmma::accumulate<T>(sums, weights[depth], queries + depth * kSixteenRows);
  }
  wgmma::commit();
}
template <typename T>
__device__ void multiply_weights(float (&sums)[2][16], unsigned weights, unsigned keys) {
  wgmma::fence();
#pragma unroll
  for (int depth = 0; depth < kKeys / 16; ++depth) {
    multiply_columns<T>(sums, weights + depth * kSixteenRows, keys + depth * kSixteenRows, depth > 0);
  }
  wgmma::commit();
}

template <typename T>
__device__ void round_to(mma::Fragment (&fragments)[4], const float (&sums)[2][16]) {
#pragma unroll
  for (int depth = 0; depth < 4; ++depth) fragments[depth] = as_fragment<T>(sums, 0, depth);
}

/// Adds a warp's 16 rows of dq, of which `rows` exist, in its warpgroup's half of the columns.
__device__ inline void add_queries(const QuerySums& to, const float (&sums)[2][16], int head, int half,
                                   std::int64_t first_token, int rows, float* staging) {
  const int lane = lane_of_warp();
  if (lane == 0) hopper::wait_until_read();
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int at = QuerySums::place(first_token + row_of_sum(i), part) + lane % 4 * 4;
      *reinterpret_cast<float4*>(staging + row_of_sum(i) * 64 + at) = {sums[i][4 * part], sums[i][4 * part + 1],
                                                                       sums[i][4 * part + 2], sums[i][4 * part + 3]};
    }
  }
  wgmma::publish();
  __syncwarp();
  if (lane == 0 && rows > 0) {
    hopper::add_in_background(to.at(head, half, first_token), hopper::shared_address(staging), min(rows, 16) * 256);
  }
}

/// Gives sums to the other block of the cluster, which has those that are added to `kept`.
__device__ inline void exchange_sums(unsigned char* memory, const float (&given)[2][32], float (&kept)[2][32],
                                     int thread, int other) {
  auto* const vectors = reinterpret_cast<float4*>(memory + Layout::kK) + thread;
#pragma unroll
  for (int j = 0; j < 32; j += 2) {
    vectors[j / 2 * kConsumers] = {given[0][j], given[0][j + 1], given[1][j], given[1][j + 1]};
  }
  hopper::synchronize_cluster();
#pragma unroll
  for (int j = 0; j < 32; j += 2) {
    const float4 more = hopper::load_remote(hopper::shared_address(vectors + j / 2 * kConsumers), other);
    kept[0][j] += more.x;
    kept[0][j + 1] += more.y;
    kept[1][j] += more.z;
    kept[1][j + 1] += more.w;
  }
}

/// A warpgroup of the two.
template <typename T>
__device__ void compute(const SinglePass<T>& args, const Work& work, unsigned char* memory, Barriers barriers) {
  const FlashShape& shape = args.backward.shape;
  const int team = static_cast<int>(threadIdx.x) / 128 - 1, warp = static_cast<int>(threadIdx.x) % 128 / kWarpSize;
  const int lane = lane_of_warp();
  const auto* const stages = reinterpret_cast<const Statistics*>(memory + Layout::kStatistics);
  auto* const staging = reinterpret_cast<float*>(memory + Layout::kSums + (team * 4 + warp) * Layout::kSumsOfWarp);
  const unsigned k = wgmma::descriptor(memory + Layout::kK + team * 64 * 128, KeyTile<T>::kPanelBytes);
  const unsigned v = wgmma::descriptor(memory + Layout::kV + team * 64 * 128, KeyTile<T>::kPanelBytes);
  const unsigned k_columns = wgmma::descriptor(memory + Layout::kK + team * KeyTile<T>::kPanelBytes, 0);
  const unsigned q_tiles = wgmma::descriptor(memory + Layout::kQ, QueryTile<T>::kPanelBytes);
  const unsigned out_tiles = wgmma::descriptor(memory + Layout::kOut, QueryTile<T>::kPanelBytes);
  const unsigned all_weights = wgmma::descriptor(memory + Layout::kScores, 0);
  // this lane's chunk of dsᵀ as stmatrix takes it: rows are keys, 64 queries in 128 bytes
  const int store_row = team * 64 + warp * 16 + lane % 16;
  const unsigned store_at = hopper::shared_address(memory + Layout::kScores) + static_cast<unsigned>(store_row) * 128U;
  const float scale = shape.scale * kLog2E;

  float d_k[2][32] = {}, d_v[2][32] = {};
  hopper::Turn<kQStages> q;
  hopper::Turn<kOutStages> out;
  unsigned buffer = 0;
  barriers.keys().wait(0);
  for_each_tile(work, [&](int head, int tile) {
    const unsigned q_tile = q_tiles + static_cast<unsigned>(q.stage) * (Layout::kTile >> 4);
    const unsigned out_tile = out_tiles + static_cast<unsigned>(out.stage) * (Layout::kTile >> 4);
    const Statistics& statistics = stages[q.stage];
    float scores[2][16], d_scores[2][16], p[2][16];
    barriers.q_full(q.stage).wait(q.parity);
    multiply_tiles<T>(scores, k, q_tile);
    barriers.out_full(out.stage).wait(out.parity);
    multiply_tiles<T>(d_scores, v, out_tile);

    wgmma::wait<1>();
    hopper::settle(scores);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const float lse = statistics.negative_lse[column_of_sum(j)];
#pragma unroll
      for (int i = 0; i < 2; ++i) p[i][j] = fast_exp2(fmaf(scores[i][j], scale, lse));
    }
    if (tile <= team) {
      const int ahead = team * 64 + warp * 16 + row_of_sum(0) - tile * kQueries - column_of_sum(0);
#pragma unroll
      for (int j = 0; j < 16; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (ahead + i * 8 > j / 2 * 8 + j % 2) p[i][j] = 0.0F;
        }
      }
    }
    mma::Fragment weights[4], d_weights[4];
    round_to<T>(weights, p);
    accumulate_tile<T>(d_v, weights, out_tile);

    wgmma::wait<1>();
    hopper::settle(d_scores);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const float delta = statistics.negative_delta[column_of_sum(j)];
#pragma unroll
      for (int i = 0; i < 2; ++i) p[i][j] *= d_scores[i][j] + delta;
    }
    round_to<T>(d_weights, p);
#pragma unroll
    for (int depth = 0; depth < 4; ++depth) {
      const auto chunk = static_cast<unsigned>((depth * 2 + lane / 16) ^ (lane % 8));
      hopper::store(store_at + buffer * Layout::kScoresBytes + chunk * 16U, d_weights[depth]);
    }
    wgmma::publish();
    hopper::synchronize<kConsumersBarrier, kConsumers>();

    float d_q[2][16];
    multiply_weights<T>(d_q, all_weights + buffer * (Layout::kScoresBytes >> 4), k_columns);
    accumulate_tile<T>(d_k, d_weights, q_tile);
    wgmma::wait<1>();
    __syncwarp();
    if (lane == 0) barriers.out_empty(out.stage).arrive();
    hopper::settle(d_q);
    const int row = work.place.first_row + tile * kQueries + warp * 16;
    add_queries(args.d_q, d_q, head, team, work.place.first_token + row, work.place.length - row, staging);
    wgmma::wait<0>();
    __syncwarp();
    if (lane == 0) barriers.q_empty(q.stage).arrive();
    q.advance();
    out.advance();
    buffer ^= 1U;  // every warp has left the other one's products behind
  });
  wgmma::wait<0>();
  hopper::settle(d_k);
  hopper::settle(d_v);
  const int first_row = work.place.first_row + team * 64 + warp * 16;
  if (args.split == 2) {
    hopper::synchronize<kConsumersBarrier, kConsumers>();  // nobody reads keys and values any more
    const int thread = static_cast<int>(threadIdx.x) - 128;
    if (work.rank == 0) {
      exchange_sums(memory, d_v, d_k, thread, 1);
    } else {
      exchange_sums(memory, d_k, d_v, thread, 0);
    }
  }
  if (args.split == 1 || work.rank == 0) {
#pragma unroll
    for (int j = 0; j < 32; ++j) {
      d_k[0][j] *= shape.scale;
      d_k[1][j] *= shape.scale;
    }
    store_sums(HeadRows<T>(args.backward.d_k, work.place, work.kv_head, QueryGroup(1), kDim), first_row, d_k);
  }
  if (args.split == 1 || work.rank == 1) {
    store_sums(HeadRows<T>(args.backward.d_v, work.place, work.kv_head, QueryGroup(1), kDim), first_row, d_v);
  }
  if (args.split == 2) hopper::synchronize_cluster();  // the other block has read
  if (lane == 0) hopper::wait_until_read();
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 1) backward_kernel(const __grid_constant__ SinglePass<T> args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const Work work(args);
  if (work.place.length == 0) return;
  extern __shared__ __align__(1024) unsigned char memory[];
  const unsigned shared = hopper::shared_address(memory);
  const Barriers barriers = {shared + Layout::kBarriers};
  if (threadIdx.x == 0) {
    barriers.keys().init(1);
    for (int i = 0; i < kQStages; ++i) {
      barriers.q_full(i).init(1 + kWarpSize);  // the copy, and a warp's statistics
      barriers.q_empty(i).init(kConsumers / kWarpSize);
    }
    for (int i = 0; i < kOutStages; ++i) {
      barriers.out_full(i).init(1);
      barriers.out_empty(i).init(kConsumers / kWarpSize);
    }
    hopper::publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    hopper::give_registers<40>();
    if (threadIdx.x == 0) {
      fetch_tiles(args, work, shared, barriers);
    } else if (threadIdx.x / kWarpSize == 1) {
      fetch_statistics(args, work, reinterpret_cast<Statistics*>(memory + Layout::kStatistics), barriers);
    }
  } else {
    hopper::take_registers<232>();
    compute(args, work, memory, barriers);
  }
#endif
}

constexpr int kRowThreads = 256, kPrepareTokens = 64, kFinishTokens = 32;  // of a block that goes by rows
constexpr int kRowLanes = 16, kRowsAtOnce = kRowThreads / kRowLanes;       // a lane has 8 columns

/// −lse in powers of two and −Σ d_out · out of each row; zeros to dq's sums.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) prepare_kernel(const __grid_constant__ SinglePass<T> args) {
  const FlashBackward<T>& backward = args.backward;
  const int head = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x) % kRowLanes;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kPrepareTokens + threadIdx.x / kRowLanes;
  const int column = head * kDim + lane * 8;
#pragma unroll
  for (int i = 0; i < kPrepareTokens; i += kRowsAtOnce) {
    const std::int64_t token = first + i;
    const bool exists = token < backward.shape.tokens;
    float sum = 0.0F;
    if (exists) {
      sum = dot_of_chunks(backward.out.data + token * backward.out.stride + column,
                          backward.d_out.data + token * backward.d_out.stride + column);
      auto* const sums = reinterpret_cast<float4*>(args.d_q.at(head, lane / 8, token) + lane % 8 * 8);
      sums[0] = sums[1] = {0.0F, 0.0F, 0.0F, 0.0F};
    }
    sum = lanes_sum(sum, kRowLanes);
    if (!exists || lane != 0) continue;
    const std::int64_t at = head * args.d_q.tokens + token;
    args.negative_delta[at] = -sum;
    args.negative_lse[at] = -backward.lse[head * backward.lse_stride + token] * kLog2E;
  }
}

/// dq = scale · its sums, 16 columns a thread.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) finish_kernel(const __grid_constant__ SinglePass<T> args) {
  const FlashBackward<T>& backward = args.backward;
  const int head = static_cast<int>(blockIdx.x), part = static_cast<int>(threadIdx.x) % 4,
            half = static_cast<int>(threadIdx.x) / 128;
  const std::int64_t token = static_cast<std::int64_t>(blockIdx.y) * kFinishTokens + threadIdx.x % 128 / 4;
  if (token >= backward.shape.tokens) return;
  const auto* const sums =
      reinterpret_cast<const float4*>(args.d_q.at(head, half, token) + QuerySums::place(token, part));
  Floats<8> left, right;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float4 four = sums[i];
    left[2 * i] = four.x * backward.shape.scale;
    left[2 * i + 1] = four.y * backward.shape.scale;
    right[2 * i] = four.z * backward.shape.scale;
    right[2 * i + 1] = four.w * backward.shape.scale;
  }
  T* const to = backward.d_q.data + token * backward.d_q.stride + head * kDim + half * 64 + part * 16;
  store_pack(to, packed<T>(left));
  store_pack(to + 8, packed<T>(right));
}

}  // namespace single_pass
}  // namespace primus::ops::gpu::flash
