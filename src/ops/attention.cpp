#include "ops/attention.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {
namespace {

constexpr int kMaxHeadDim = 256;

void check_shape(const AttentionShape& shape) {
  PRIMUS_CHECK(shape.heads > 0 && shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, shape.heads, shape.kv_heads);
  PRIMUS_CHECK(shape.head_dim > 0 && shape.head_dim <= kMaxHeadDim, shape.head_dim);
  PRIMUS_CHECK(shape.scale > 0.0F, shape.scale);
}

void check_qkv(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v) {
  check_shape(shape);
  check_compute_matrix(q);
  check_matrix(q, q.rows(), std::int64_t{shape.heads} * shape.head_dim, q.dtype());
  check_matrix(k, k.rows(), std::int64_t{shape.kv_heads} * shape.head_dim, q.dtype());
  check_matrix(v, k.rows(), std::int64_t{shape.kv_heads} * shape.head_dim, q.dtype());
}

void check_documents(const Tensor& cu_seqlens) {
  check_vector(cu_seqlens, cu_seqlens.columns(), DType::kI32);
  PRIMUS_CHECK(cu_seqlens.columns() >= 1, cu_seqlens.describe());
}

void check_backward(const Stream& stream, const AttentionBackward& args) {
  const Tensor &q = args.q, &k = args.k;
  check_on_device(stream, args.d_out, q, k, args.v, args.out, args.lse, args.cu_seqlens, args.d_q, args.d_k, args.d_v,
                  args.workspace);
  check_qkv(args.shape, q, k, args.v);
  PRIMUS_CHECK(k.rows() == q.rows(), k.describe(), q.describe());
  check_documents(args.cu_seqlens);
  check_matrix(args.d_out, q.rows(), q.columns(), q.dtype());
  check_matrix(args.out, q.rows(), q.columns(), q.dtype());
  check_matrix(args.lse, args.shape.heads, q.rows(), DType::kF32);
  check_matrix(args.d_q, q.rows(), q.columns(), q.dtype());
  check_matrix(args.d_k, k.rows(), k.columns(), q.dtype());
  check_matrix(args.d_v, k.rows(), k.columns(), q.dtype());
  const std::size_t needed = attention_backward_workspace(stream.device(), q.dtype(), args.shape, q.rows());
  PRIMUS_CHECK(args.workspace.bytes() >= needed, args.workspace.bytes(), needed);
}

}  // namespace

void attention_forward(Stream& stream, const AttentionForward& args) {
  check_on_device(stream, args.q, args.k, args.v, args.cu_seqlens, args.out, args.lse);
  check_qkv(args.shape, args.q, args.k, args.v);
  PRIMUS_CHECK(args.k.rows() == args.q.rows(), args.k.describe(), args.q.describe());
  check_documents(args.cu_seqlens);
  check_matrix(args.out, args.q.rows(), args.q.columns(), args.q.dtype());
  if (args.lse) check_matrix(args.lse, args.shape.heads, args.q.rows(), DType::kF32);
  if (args.q.rows() == 0) return;
  const Observed observed(stream, WorkKind::kAttention, "attention_forward");
  stream.backend().ops->attention_forward(stream, args);
}

void attention_backward(Stream& stream, const AttentionBackward& args) {
  check_backward(stream, args);
  if (args.q.rows() == 0) return;
  const Observed observed(stream, WorkKind::kAttention, "attention_backward");
  stream.backend().ops->attention_backward(stream, args);
}

Tensor attention_backward_sums(Stream& stream, const AttentionBackward& args) {
  check_backward(stream, args);
  if (args.q.rows() == 0) return {};
  const Observed observed(stream, WorkKind::kAttention, "attention_backward");
  return stream.backend().ops->attention_backward_sums(stream, args);
}

std::size_t attention_backward_workspace(Device device, DType dtype, const AttentionShape& shape, std::int64_t tokens) {
  check_shape(shape);
  return backend(device.type).ops->attention_backward_workspace(device, dtype, shape, tokens);
}

void attention_decode(Stream& stream, const AttentionDecode& args) {
  check_on_device(stream, args.q, args.k, args.v, args.k_cache, args.v_cache, args.slots, args.positions, args.out);
  check_qkv(args.shape, args.q, args.k, args.v);
  check_qkv(args.shape, args.q, args.k_cache, args.v_cache);
  PRIMUS_CHECK(args.k.rows() == args.q.rows(), args.k.describe(), args.q.describe());
  PRIMUS_CHECK(args.capacity > 0 && args.k_cache.rows() % args.capacity == 0, args.k_cache.describe(), args.capacity);
  check_vector(args.slots, args.q.rows(), DType::kI32);
  check_vector(args.positions, args.q.rows(), DType::kI32);
  check_matrix(args.out, args.q.rows(), args.q.columns(), args.q.dtype());
  if (args.q.rows() == 0) return;
  const Observed observed(stream, WorkKind::kAttention, "attention_decode");
  stream.backend().ops->attention_decode(stream, args);
}

}  // namespace primus::ops
