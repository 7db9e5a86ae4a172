#pragma once

#include "ops/gpu/hopper.cuh"
#include "ops/gpu/query_sums.cuh"

/// Backward in one pass over the scores (5 products), after FlashAttention-3 (Shah et al. 2024): a block owns 128 keys
/// of a key/value head and streams tiles of 64 queries of each query head that reads it. dk and dv stay in registers;
/// dq is added up in f32 in global memory, in no fixed order.
///
/// One thread fetches tiles and their statistics with the copy engine; two warpgroups have 64 keys each. They compute
/// scores with keys as rows, so that p and ds, rounded, are left operands of dv += pᵀ·d_out and dk += dsᵀ·q in
/// registers. ds goes through shared memory to dq = ds·k, of which each warpgroup has 64 columns, and a thread that
/// sends them on to be added.
///
/// Rows behind a document's end are read too (of the next one, or zeros behind the last) and weigh nothing: finite
/// numbers of other documents change no bit, but one that is not finite spoils its neighbour, too, of a step that is
/// lost anyway.
namespace primus::ops::gpu::flash {

/// What a query's p and ds are computed with, in the 16 bytes that the copy engine needs to begin at any token.
struct alignas(16) QueryStatistics {
  float negative_lse;    // in powers of two
  float negative_delta;  // −scale · Σ d_out · out
  float unused[2];
};

template <typename T>
struct SinglePass {
  CUtensorMap q, k, v, d_out, statistics_map;
  FlashBackward<T> backward;
  QueryStatistics* statistics;  // (heads, tokens)
  QuerySums d_q;
  int key_tiles;  // the most that there can be
  int split;      // 2: the query heads of a key/value head are shared out to a cluster of two blocks
  bool by_head;   // all tiles of a key/value head before any of the next one
};

namespace single_pass {

constexpr int kDim = 128, kKeys = 128, kQueries = 64;
constexpr int kTeams = 2, kConsumers = kTeams * 128, kThreads = kConsumers + 128;
constexpr int kQStages = 3, kOutStages = 2;
constexpr int kConsumersBarrier = 1;

template <typename T>
using KeyTile = PanelTile<T, kKeys, kDim>;
template <typename T>
using QueryTile = PanelTile<T, kQueries, kDim>;

/// Offsets in shared memory.
struct Layout {
  static constexpr int kTile = kQueries * kDim * 2;
  static constexpr int kK = 0, kV = kK + kKeys * kDim * 2, kQ = kV + kKeys * kDim * 2, kOut = kQ + kQStages * kTile;
  static constexpr int kScores = kOut + kOutStages * kTile;  // ds, twice
  static constexpr int kScoresBytes = kKeys * kQueries * 2;
  static constexpr int kSums = kScores + 2 * kScoresBytes;  // dq on its way
  static constexpr int kSumsOfTeam = kQueries * 64 * 4;
  static constexpr int kStatistics = kSums + kTeams * kSumsOfTeam;
  static constexpr int kStatisticsOfTile = kQueries * static_cast<int>(sizeof(QueryStatistics));
  static constexpr int kBarriers = kStatistics + kQStages * kStatisticsOfTile;
  static constexpr int kBytes = kBarriers + (1 + 2 * kQStages + 2 * kOutStages + 2 * kTeams) * hopper::Barrier::kBytes;
};

struct Barriers {
  unsigned first;
  __device__ hopper::Barrier at(int i) const { return hopper::Barrier(first + static_cast<unsigned>(i) * 8U); }
  __device__ hopper::Barrier keys() const { return at(0); }
  __device__ hopper::Barrier q_full(int stage) const { return at(1 + stage); }
  __device__ hopper::Barrier q_empty(int stage) const { return at(1 + kQStages + stage); }
  __device__ hopper::Barrier out_full(int stage) const { return at(1 + 2 * kQStages + stage); }
  __device__ hopper::Barrier out_empty(int stage) const { return at(1 + 2 * kQStages + kOutStages + stage); }
  __device__ hopper::Barrier sums_full(int team) const { return at(1 + 2 * kQStages + 2 * kOutStages + team); }
  __device__ hopper::Barrier sums_empty(int team) const {
    return at(1 + 2 * kQStages + 2 * kOutStages + kTeams + team);
  }
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
    kv_head = args.by_head ? cluster / args.key_tiles : cluster % shape.kv_heads;
    place = find_tile(shape, 1, kKeys, args.by_head ? cluster % args.key_tiles : cluster / shape.kv_heads);
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
    const hopper::Barrier q_full = barriers.q_full(q.stage), out_full = barriers.out_full(out.stage);
    barriers.q_empty(q.stage).wait(q.parity ^ 1U);
    q_full.arrive_and_expect(Layout::kTile + Layout::kStatisticsOfTile);
    copy_tile<kQueries>(shared + Layout::kQ + q.stage * Layout::kTile, args.q, head, row, q_full);
    hopper::copy_box(shared + Layout::kStatistics + q.stage * Layout::kStatisticsOfTile, args.statistics_map, 0,
                     head * static_cast<int>(args.backward.shape.tokens) + row, q_full);
    barriers.out_empty(out.stage).wait(out.parity ^ 1U);
    out_full.arrive_and_expect(Layout::kTile);
    copy_tile<kQueries>(shared + Layout::kOut + out.stage * Layout::kTile, args.d_out, head, row, out_full);
    q.advance();
    out.advance();
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

/// Where a lane stages its part of a warp's 16 rows of dq, in its warpgroup's half of the columns. It stays the same:
/// tiles have even numbers of rows.
class StagedQueries {
 public:
  __device__ StagedQueries(float* rows, std::int64_t first_token) {
    float* const row = rows + row_of_sum(0) * 64 + lane_of_warp() % 4 * 4;
    even_parts_ = row + QuerySums::place_of_part(first_token + row_of_sum(0), 0);
    odd_parts_ = row + QuerySums::place_of_part(first_token + row_of_sum(0), 1);
  }

  __device__ void store(const float (&sums)[2][16]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        float* const to = (part % 2 == 0 ? even_parts_ : odd_parts_) + i * 8 * 64 + part / 2 * 32;
        *reinterpret_cast<float4*>(to) = {sums[i][4 * part], sums[i][4 * part + 1], sums[i][4 * part + 2],
                                          sums[i][4 * part + 3]};
      }
    }
  }

 private:
  float *even_parts_, *odd_parts_;
};

/// One thread: adds the half of dq that a warpgroup has staged, tile by tile.
template <typename T>
__device__ void send_queries(const SinglePass<T>& args, const Work& work, int team, unsigned shared,
                             Barriers barriers) {
  const unsigned staged = shared + static_cast<unsigned>(Layout::kSums + team * Layout::kSumsOfTeam);
  unsigned parity = 0;
  for_each_tile(work, [&](int head, int tile) {
    const int row = work.place.first_row + tile * kQueries, rows = min(work.place.length - row, kQueries);
    barriers.sums_full(team).wait(parity);
    hopper::add_in_background(args.d_q.at(head, team, work.place.first_token + row), staged, rows * 256);
    hopper::wait_until_read();
    barriers.sums_empty(team).arrive();
    parity ^= 1U;
  });
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
  const auto* const stages = reinterpret_cast<const QueryStatistics*>(memory + Layout::kStatistics);
  auto* const staging = reinterpret_cast<float*>(memory + Layout::kSums + team * Layout::kSumsOfTeam);
  const StagedQueries staged(staging + warp * 16 * 64, work.first_key());
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
  unsigned buffer = 0, sums_parity = 1;
  barriers.keys().wait(0);
  for_each_tile(work, [&](int /*head*/, int tile) {
    const unsigned q_tile = q_tiles + static_cast<unsigned>(q.stage) * (Layout::kTile >> 4);
    const unsigned out_tile = out_tiles + static_cast<unsigned>(out.stage) * (Layout::kTile >> 4);
    const QueryStatistics* const statistics = stages + q.stage * kQueries;
    float scores[2][16], d_scores[2][16], p[2][16], lse[16];
    barriers.q_full(q.stage).wait(q.parity);
#pragma unroll
    for (int j = 0; j < 16; ++j) lse[j] = statistics[column_of_sum(j)].negative_lse;  // slow beside products
    multiply_tiles<T>(scores, k, q_tile);
    barriers.out_full(out.stage).wait(out.parity);
    multiply_tiles<T>(d_scores, v, out_tile);

    wgmma::wait<1>();
    hopper::settle(scores);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) p[i][j] = fast_exp2(fmaf(scores[i][j], scale, lse[j]));
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
    if (const int rest = work.place.length - work.place.first_row - tile * kQueries; rest < kQueries) {
#pragma unroll
      for (int j = 0; j < 16; ++j) {
        if (column_of_sum(j) >= rest) p[0][j] = p[1][j] = 0.0F;
      }
    }
    mma::Fragment weights[4], d_weights[4];
    round_to<T>(weights, p);
    accumulate_tile<T>(d_v, weights, out_tile);

    wgmma::wait<1>();
    hopper::settle(d_scores);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const float delta = statistics[column_of_sum(j)].negative_delta;
#pragma unroll
      for (int i = 0; i < 2; ++i) p[i][j] *= fmaf(d_scores[i][j], shape.scale, delta);
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
    barriers.sums_empty(team).wait(sums_parity);
    staged.store(d_q);
    wgmma::publish();
    __syncwarp();
    if (lane == 0) barriers.sums_full(team).arrive();
    sums_parity ^= 1U;
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
    store_sums(HeadRows<T>(args.backward.d_k, work.place, work.kv_head, QueryGroup(1), kDim), first_row, d_k);
  }
  if (args.split == 1 || work.rank == 1) {
    store_sums(HeadRows<T>(args.backward.d_v, work.place, work.kv_head, QueryGroup(1), kDim), first_row, d_v);
  }
  if (args.split == 2) hopper::synchronize_cluster();  // the other block has read
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
      barriers.q_full(i).init(1);
      barriers.q_empty(i).init(kConsumers / kWarpSize);
    }
    for (int i = 0; i < kOutStages; ++i) {
      barriers.out_full(i).init(1);
      barriers.out_empty(i).init(kConsumers / kWarpSize);
    }
    for (int team = 0; team < kTeams; ++team) {
      barriers.sums_full(team).init(kConsumers / kTeams / kWarpSize);
      barriers.sums_empty(team).init(1);
    }
    hopper::publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    hopper::give_registers<40>();
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    if (threadIdx.x == 0) {
      fetch_tiles(args, work, shared, barriers);
    } else if (warp >= 1 && warp <= kTeams && lane_of_warp() == 0) {
      send_queries(args, work, warp - 1, shared, barriers);
    }
  } else {
    hopper::take_registers<232>();
    compute(args, work, memory, barriers);
  }
#endif
}

constexpr int kRowThreads = 256, kRowsOfBlock = 64;                   // of a kernel that goes by rows
constexpr int kRowLanes = 16, kRowsAtOnce = kRowThreads / kRowLanes;  // a lane has 8 columns

/// body(head, token, column) for a lane's columns of each row of a block; for rows behind the last token, too.
template <typename Body>
__device__ void for_each_row(const Body& body) {
  const auto lane = static_cast<int>(threadIdx.x) % kRowLanes;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kRowsOfBlock + threadIdx.x / kRowLanes;
#pragma unroll
  for (int i = 0; i < kRowsOfBlock; i += kRowsAtOnce) body(static_cast<int>(blockIdx.x), first + i, lane * 8);
}

/// The statistics of each row; zeros to dq's sums.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) prepare_kernel(const __grid_constant__ SinglePass<T> args) {
  const FlashBackward<T>& backward = args.backward;
  for_each_row([&](int head, std::int64_t token, int column) {
    const bool exists = token < backward.shape.tokens;
    float sum = 0.0F;
    if (exists) {
      sum = dot_of_chunks(backward.out.at(token, head * kDim + column), backward.d_out.at(token, head * kDim + column));
      auto* const sums = reinterpret_cast<float4*>(args.d_q.at(head, column / 64, token) + column % 64);
      sums[0] = sums[1] = {0.0F, 0.0F, 0.0F, 0.0F};
    }
    sum = lanes_sum(sum, kRowLanes);
    if (!exists || column != 0) return;
    args.statistics[head * backward.shape.tokens + token] = {
        .negative_lse = -backward.lse[head * backward.lse_stride + token] * kLog2E,
        .negative_delta = -sum * backward.shape.scale,
        .unused = {}};
  });
}

/// dq from its sums.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) round_kernel(QuerySums sums, Rows<T> d_q) {
  for_each_row([&](int head, std::int64_t token, int column) {
    if (token >= sums.tokens) return;
    store(d_q.at(token, head * kDim + column), sums.load<8>(head, column / 64, token, column % 64));
  });
}

}  // namespace single_pass
}  // namespace primus::ops::gpu::flash
