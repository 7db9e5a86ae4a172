#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {
namespace {

/// One head's rows as contiguous f32.
void load_head(const Tensor& tensor, Index first, Index count, Index head, Index dim, float* out) {
  const ElementKernels& table = kernels_of(tensor.dtype());
  for (Index t = 0; t < count; ++t) {
    table.load(element_at(row_at(tensor, first + t), tensor.dtype(), head * dim), out + t * dim, dim);
  }
}

void store_head(const float* in, const Tensor& tensor, Index first, Index count, Index head, Index dim) {
  const ElementKernels& table = kernels_of(tensor.dtype());
  for (Index t = 0; t < count; ++t) {
    table.store(in + t * dim, element_at(row_at(tensor, first + t), tensor.dtype(), head * dim), dim);
  }
}

float dot(const float* a, const float* b, Index count) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(float* target, const float* x, float factor, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) target[i] += factor * x[i];
}

/// out, log-sum-exp of one query against `count` keys.
float attend(const float* q, const float* k, const float* v, Index count, Index dim, float scale, float* out) {
  float highest = -INFINITY, total = 0.0F;
  std::fill(out, out + dim, 0.0F);
  for (Index j = 0; j < count; ++j) {
    const float score = scale * dot(q, k + j * dim, dim);
    if (score > highest) {
      const float shrink = std::exp(highest - score);
      total *= shrink;
      for (Index d = 0; d < dim; ++d) out[d] *= shrink;
      highest = score;
    }
    const float weight = std::exp(score - highest);
    total += weight;
    add_scaled(out, v + j * dim, weight, dim);
  }
  for (Index d = 0; d < dim; ++d) out[d] /= total;
  return highest + std::log(total);
}

}  // namespace

void attention_forward(Stream&, const AttentionForward& args) {
  const Index dim = args.shape.head_dim, group = args.shape.heads / args.shape.kv_heads;
  const std::int32_t* starts = args.cu_seqlens.as<std::int32_t>();
  const Index documents = args.cu_seqlens.columns() - 1;
  parallel_tasks(documents * args.shape.heads, args.q.numel() * 64, [&](Index task) {
    const Index document = task / args.shape.heads, head = task % args.shape.heads;
    const Index first = starts[document], count = starts[document + 1] - first;
    float* q = scratch_floats(Scratch::kAttention, 4 * count * dim);
    float *k = q + count * dim, *v = k + count * dim, *out = v + count * dim;
    load_head(args.q, first, count, head, dim, q);
    load_head(args.k, first, count, head / group, dim, k);
    load_head(args.v, first, count, head / group, dim, v);
    for (Index i = 0; i < count; ++i) {
      const float lse = attend(q + i * dim, k, v, i + 1, dim, args.shape.scale, out + i * dim);
      if (args.lse) args.lse.as<float>()[head * args.lse.row_stride() + first + i] = lse;
    }
    store_head(out, args.out, first, count, head, dim);
  });
}

std::size_t attention_backward_workspace(Device, const AttentionShape&, std::int64_t) { return 0; }

void attention_backward(Stream&, const AttentionBackward& args) {
  const Index dim = args.shape.head_dim, group = args.shape.heads / args.shape.kv_heads;
  const std::int32_t* starts = args.cu_seqlens.as<std::int32_t>();
  const Index documents = args.cu_seqlens.columns() - 1;
  parallel_tasks(documents * args.shape.kv_heads, args.q.numel() * 64, [&](Index task) {
    const Index document = task / args.shape.kv_heads, kv_head = task % args.shape.kv_heads;
    const Index first = starts[document], count = starts[document + 1] - first, size = count * dim;
    float* k = scratch_floats(Scratch::kAttention, 8 * size);
    float *v = k + size, *dk = v + size, *dv = dk + size, *q = dv + size, *out = q + size, *d_out = out + size,
          *dq = d_out + size;
    load_head(args.k, first, count, kv_head, dim, k);
    load_head(args.v, first, count, kv_head, dim, v);
    std::memset(dk, 0, static_cast<std::size_t>(2 * size) * sizeof(float));
    for (Index head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      load_head(args.q, first, count, head, dim, q);
      load_head(args.out, first, count, head, dim, out);
      load_head(args.d_out, first, count, head, dim, d_out);
      std::memset(dq, 0, static_cast<std::size_t>(size) * sizeof(float));
      const float* lse = args.lse.as<float>() + head * args.lse.row_stride() + first;
      for (Index i = 0; i < count; ++i) {
        const float delta = dot(d_out + i * dim, out + i * dim, dim);
        for (Index j = 0; j <= i; ++j) {
          const float p = std::exp(args.shape.scale * dot(q + i * dim, k + j * dim, dim) - lse[i]);
          add_scaled(dv + j * dim, d_out + i * dim, p, dim);
          const float ds = args.shape.scale * p * (dot(d_out + i * dim, v + j * dim, dim) - delta);
          add_scaled(dq + i * dim, k + j * dim, ds, dim);
          add_scaled(dk + j * dim, q + i * dim, ds, dim);
        }
      }
      store_head(dq, args.d_q, first, count, head, dim);
    }
    store_head(dk, args.d_k, first, count, kv_head, dim);
    store_head(dv, args.d_v, first, count, kv_head, dim);
  });
}

void attention_decode(Stream&, const AttentionDecode& args) {
  const Index dim = args.shape.head_dim, group = args.shape.heads / args.shape.kv_heads;
  const std::int32_t* lengths = args.lengths.as<std::int32_t>();
  parallel_tasks(args.q.rows() * args.shape.heads, args.q.numel() * args.capacity, [&](Index task) {
    const Index b = task / args.shape.heads, head = task % args.shape.heads, count = lengths[b];
    float* k = scratch_floats(Scratch::kAttention, 2 * count * dim + 2 * dim);
    float *v = k + count * dim, *q = v + count * dim, *out = q + dim;
    load_head(args.q, b, 1, head, dim, q);
    load_head(args.k_cache, b * args.capacity, count, head / group, dim, k);
    load_head(args.v_cache, b * args.capacity, count, head / group, dim, v);
    attend(q, k, v, count, dim, args.shape.scale, out);
    store_head(out, args.out, b, 1, head, dim);
  });
}

}  // namespace primus::ops::cpu
