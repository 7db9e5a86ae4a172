#include "ops/cpu/kernels/level.h"
#include "ops/cpu/kernels/matmul.h"
#include "ops/cpu/kernels/simd.h"

/// Attention by blocks of kAttentionBlock queries and keys. Scores are kept transposed, (keys, queries): a vector holds
/// one key's scores of many queries, so that maxima, sums and the statistics of a query are plain vector arithmetic,
/// and K, V, dK, dV are used as they lie. Only Q and dO are transposed, once a block.
namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

constexpr Index kBlock = kAttentionBlock;

Index smaller(Index a, Index b) { return a < b ? a : b; }

/// Rows of one head as f32: where they lie if that is possible, else copied into `room`.
template <typename T>
BlockB rows_as_f32(const Rows& rows, Index first, Index count, const AttentionTask& task, float* room) {
  const Index dim = task.head_dim, width = task.width, stride = rows.stride;
  const T* x = static_cast<const T*>(rows.data) + first * stride;
  if constexpr (std::is_same_v<T, float>) {
    if (dim % kLanes == 0) return {x, stride};
  }
  for (Index i = 0; i < count; ++i) {
    for_lanes(dim,
              [&](Index j, auto lanes) { store(room + i * width + j, load(x + i * stride + j, lanes), AllLanes{}); });
  }
  return {room, width};
}

BlockA left_of(const BlockB& rows) { return {rows.data, rows.row_stride, 1}; }
BlockA flipped(const float* block) { return {block, 1, kBlock}; }

/// Lanes whose query comes before key `key`, counted from the same token, are zeroed.
PRIMUS_INLINE Vec without_later_keys(Vec value, Index first_query, Index key) {
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane >= static_cast<std::int32_t>(key - first_query) ? value : Vec{};
}

/// `diagonal`: queries and keys are the same tokens. Then only the lower triangle is formed, in steps of a vector.
/// scores (keys, queries) = rows (keys, dim) · columns (dim, queries)
void multiply_scores(const BlockA& rows, const float* columns, float* scores, Index keys, Index queries, Index dim,
                     bool diagonal) {
  if (!diagonal) return multiply(rows, {columns, kBlock}, {scores, kBlock}, keys, queries, dim, false);
  for (Index key = 0; key < keys; key += kLanes) {
    multiply({rows.data + key * rows.row_stride, rows.row_stride, 1}, {columns + key, kBlock},
             {scores + key * kBlock + key, kBlock}, smaller(kLanes, keys - key), queries - key, dim, false);
  }
}

/// target (queries, dim) += scoresᵀ (queries, keys) · rows (keys, dim)
void add_to_queries(const float* scores, const BlockB& rows, const BlockC& target, Index keys, Index queries, Index dim,
                    bool diagonal) {
  if (!diagonal) return multiply(flipped(scores), rows, target, queries, dim, keys, true);
  for (Index query = 0; query < queries; query += kLanes) {
    const Index count = smaller(kLanes, queries - query);
    multiply(flipped(scores + query), rows, {target.data + query * target.row_stride, target.row_stride}, count, dim,
             smaller(keys, query + count), true);
  }
}

/// target (keys, dim) += scores (keys, queries) · rows (queries, dim)
void add_to_keys(const float* scores, const BlockB& rows, const BlockC& target, Index keys, Index queries, Index dim,
                 bool diagonal) {
  if (!diagonal) return multiply({scores, kBlock, 1}, rows, target, keys, dim, queries, true);
  for (Index key = 0; key < keys; key += kLanes) {
    multiply({scores + key * kBlock + key, kBlock, 1}, {rows.data + key * rows.row_stride, rows.row_stride},
             {target.data + key * target.row_stride, target.row_stride}, smaller(kLanes, keys - key), dim,
             queries - key, true);
  }
}

template <typename T>
const T* rows_from(const Rows& rows, Index row) {
  return static_cast<const T*>(rows.data) + row * rows.stride;
}

/// Scores to weights relative to the new maxima; `shrink` is what the earlier sums have to be multiplied with.
void weigh(float* scores, float* highest, float* total, float* shrink, Index keys, Index queries, bool diagonal) {
  for (Index query = 0; query < queries; query += kLanes) {
    const Index end = diagonal ? smaller(keys, query + kLanes) : keys;
    const Vec before = load(highest + query, AllLanes{});
    Vec peak = before;
    for (Index key = 0; key < end; ++key) {
      Vec score = load(scores + key * kBlock + query, AllLanes{});
      if (diagonal && key > query) {
        IntVec lane;
        for (int i = 0; i < kLanes; ++i) lane[i] = i;
        score = lane >= static_cast<std::int32_t>(key - query) ? score : before;
      }
      peak = max(score, peak);
    }
    const Vec factor = exp_of_score(before - peak);
    Vec sum = load(total + query, AllLanes{}) * factor;
    for (Index key = 0; key < end; ++key) {
      Vec weight = exp_of_score(load(scores + key * kBlock + query, AllLanes{}) - peak);
      if (diagonal && key > query) weight = without_later_keys(weight, query, key);
      store(scores + key * kBlock + query, weight, AllLanes{});
      sum += weight;
    }
    store(highest + query, peak, AllLanes{});
    store(total + query, sum, AllLanes{});
    store(shrink + query, factor, AllLanes{});
  }
}

/// Cuts the room that the caller provides.
struct Room {
  float* next;
  float* take(Index count) {
    float* taken = next;
    next += count;
    return taken;
  }
};

template <typename T>
void forward(const AttentionTask& task, Index first_query, float* room) {
  const Index dim = task.head_dim, width = task.width, queries = smaller(kBlock, task.length - first_query);
  Room rest{room};
  float *q = rest.take(dim * kBlock), *scores = rest.take(kBlock * kBlock), *out = rest.take(kBlock * width);
  float *k_room = rest.take(kBlock * width), *v_room = rest.take(kBlock * width);
  float *highest = rest.take(kBlock), *total = rest.take(kBlock), *shrink = rest.take(kBlock);
  load_transposed(rows_from<T>(task.q, first_query), task.q.stride, queries, dim, task.scale, q, kBlock);
  for (Index i = 0; i < kBlock; ++i) {
    highest[i] = -__FLT_MAX__;
    total[i] = 0.0F;
  }
  for (Index i = 0; i < kBlock * width; ++i) out[i] = 0.0F;
  for (Index first_key = 0; first_key <= first_query; first_key += kBlock) {
    const bool diagonal = first_key == first_query;
    const Index keys = smaller(kBlock, task.length - first_key);
    const BlockB k = rows_as_f32<T>(task.k, first_key, keys, task, k_room);
    const BlockB v = rows_as_f32<T>(task.v, first_key, keys, task, v_room);
    multiply_scores(left_of(k), q, scores, keys, queries, dim, diagonal);
    weigh(scores, highest, total, shrink, keys, queries, diagonal);
    if (first_key != 0) {
      for (Index i = 0; i < queries; ++i) {
        for (Index j = 0; j < width; j += kLanes) {
          store(out + i * width + j, load(out + i * width + j, AllLanes{}) * shrink[i], AllLanes{});
        }
      }
    }
    add_to_queries(scores, v, {out, width}, keys, queries, dim, diagonal);
  }
  for (Index i = 0; i < queries; ++i) {
    T* to = static_cast<T*>(task.out.data) + (first_query + i) * task.out.stride;
    const float factor = 1.0F / total[i];
    for_lanes(dim, [&](Index j, auto lanes) { store(to + j, load(out + i * width + j, AllLanes{}) * factor, lanes); });
    if (task.lse != nullptr) task.lse[first_query + i] = highest[i] + __builtin_logf(total[i]);
  }
}

/// Weights of a block from the kept statistics, and the gradients of its scores: `scores` become p, `d_scores` (in:
/// ∂/∂p) become scale · p · (∂/∂p − delta).
void differentiate(float* scores, float* d_scores, const float* lse, const float* delta, float scale, Index keys,
                   Index queries, bool diagonal) {
  for (Index query = 0; query < queries; query += kLanes) {
    const Index end = diagonal ? smaller(keys, query + kLanes) : keys;
    const Vec log_sum = load(lse + query, AllLanes{}), shift = load(delta + query, AllLanes{});
    for (Index key = 0; key < end; ++key) {
      float *score = scores + key * kBlock + query, *d_score = d_scores + key * kBlock + query;
      Vec p = exp_of_score(load(score, AllLanes{}) - log_sum);
      Vec ds = p * (load(d_score, AllLanes{}) - shift) * scale;
      if (diagonal && key > query) {
        p = without_later_keys(p, query, key);
        ds = without_later_keys(ds, query, key);
      }
      store(score, p, AllLanes{});
      store(d_score, ds, AllLanes{});
    }
  }
}

template <typename T>
void backward(const AttentionTask& task, float* d_keys, float* d_values, float* room) {
  const Index dim = task.head_dim, width = task.width, length = task.length;
  Room rest{room};
  float *q_columns = rest.take(dim * kBlock), *d_out_columns = rest.take(dim * kBlock);
  float *scores = rest.take(kBlock * kBlock), *d_scores = rest.take(kBlock * kBlock);
  float *q_room = rest.take(kBlock * width), *d_out_room = rest.take(kBlock * width);
  float *k_room = rest.take(kBlock * width), *v_room = rest.take(kBlock * width), *dq = rest.take(kBlock * width);
  float *lse = rest.take(kBlock), *delta = rest.take(kBlock);
  for (Index i = 0; i < length * width; ++i) d_keys[i] = d_values[i] = 0.0F;
  for (Index first_query = 0; first_query < length; first_query += kBlock) {
    const Index queries = smaller(kBlock, length - first_query);
    const T* q_rows = rows_from<T>(task.q, first_query);
    const T* d_out_rows = rows_from<T>(task.d_out, first_query);
    load_transposed(q_rows, task.q.stride, queries, dim, task.scale, q_columns, kBlock);
    load_transposed(d_out_rows, task.d_out.stride, queries, dim, 1.0F, d_out_columns, kBlock);
    const BlockB q = rows_as_f32<T>(task.q, first_query, queries, task, q_room);
    const BlockB d_out = rows_as_f32<T>(task.d_out, first_query, queries, task, d_out_room);
    for (Index i = 0; i < kBlock; ++i) {
      Vec products{};
      if (i < queries) {
        const T *a = d_out_rows + i * task.d_out.stride, *b = rows_from<T>(task.out, first_query + i);
        for_lanes(dim, [&](Index j, auto lanes) { products += load(a + j, lanes) * load(b + j, lanes); });
      }
      delta[i] = sum(products);
      lse[i] = i < queries ? task.lse[first_query + i] : 0.0F;
    }
    for (Index i = 0; i < kBlock * width; ++i) dq[i] = 0.0F;
    for (Index first_key = 0; first_key <= first_query; first_key += kBlock) {
      const bool diagonal = first_key == first_query;
      const Index keys = smaller(kBlock, length - first_key);
      const BlockB k = rows_as_f32<T>(task.k, first_key, keys, task, k_room);
      const BlockB v = rows_as_f32<T>(task.v, first_key, keys, task, v_room);
      multiply_scores(left_of(k), q_columns, scores, keys, queries, dim, diagonal);
      multiply_scores(left_of(v), d_out_columns, d_scores, keys, queries, dim, diagonal);
      differentiate(scores, d_scores, lse, delta, task.scale, keys, queries, diagonal);
      add_to_keys(scores, d_out, {d_values + first_key * width, width}, keys, queries, dim, diagonal);
      add_to_keys(d_scores, q, {d_keys + first_key * width, width}, keys, queries, dim, diagonal);
      add_to_queries(d_scores, k, {dq, width}, keys, queries, dim, diagonal);
    }
    for (Index i = 0; i < queries; ++i) {
      T* to = static_cast<T*>(task.d_q.data) + (first_query + i) * task.d_q.stride;
      for_lanes(dim, [&](Index j, auto lanes) { store(to + j, load(dq + i * width + j, AllLanes{}), lanes); });
    }
  }
}

/// out[t, j] = Σ over `parts` of part[t, j], which lie `part_stride` apart.
template <typename T>
void sum_parts(const float* part, Index part_stride, Index parts, Index width, Index dim, const Rows& out, Index begin,
               Index end) {
  for (Index t = begin; t < end; ++t) {
    T* to = static_cast<T*>(out.data) + t * out.stride;
    for_lanes(dim, [&](Index j, auto lanes) {
      Vec total = load(part + t * width + j, AllLanes{});
      for (Index i = 1; i < parts; ++i) total += load(part + i * part_stride + t * width + j, AllLanes{});
      store(to + j, total, lanes);
    });
  }
}

/// The last token of a sequence: one query against `length` keys.
template <typename T>
void decode(const AttentionTask& task, float* scores) {
  const Index dim = task.head_dim;
  const T* q = static_cast<const T*>(task.q.data);
  float highest = -__FLT_MAX__, total = 0.0F;
  for (Index key = 0; key < task.length; ++key) {
    const T* k = rows_from<T>(task.k, key);
    Vec products{};
    for_lanes(dim, [&](Index j, auto lanes) { products += load(q + j, lanes) * load(k + j, lanes); });
    scores[key] = sum(products) * task.scale;
    highest = scores[key] > highest ? scores[key] : highest;
  }
  for (Index key = 0; key < task.length; key += kLanes) {
    const Index count = smaller(kLanes, task.length - key);
    store(scores + key, exp_of_score(load(scores + key, FirstLanes{count}) - highest), FirstLanes{count});
    for (Index i = 0; i < count; ++i) total += scores[key + i];
  }
  for_lanes(dim, [&](Index j, auto lanes) {
    Vec value{};
    for (Index key = 0; key < task.length; ++key) value += load(rows_from<T>(task.v, key) + j, lanes) * scores[key];
    store(static_cast<T*>(task.out.data) + j, value / total, lanes);
  });
}

template <typename T>
void fill(ElementKernels& table) {
  table.attention_forward = forward<T>;
  table.attention_backward = backward<T>;
  table.attention_sum_parts = sum_parts<T>;
  table.attention_decode = decode<T>;
}

}  // namespace

void fill_attention(Kernels& table) {
  fill<float>(table.element[0]);
  fill<BF16>(table.element[1]);
  fill<F16>(table.element[2]);
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
