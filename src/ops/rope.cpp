#include "ops/rope.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {
namespace {

void check_heads(const Tensor& q, const Tensor& k, int head_dim) {
  check_compute_matrix(q);
  check_matrix(k, q.rows(), k.columns(), q.dtype());
  PRIMUS_CHECK(head_dim > 0 && head_dim % 2 == 0, head_dim);
  PRIMUS_CHECK(q.columns() % head_dim == 0 && k.columns() % head_dim == 0, q.columns(), k.columns(), head_dim);
}

void check_angles(const Tensor& positions, const Tensor& cos, const Tensor& sin, std::int64_t tokens, int head_dim) {
  check_vector(positions, tokens, DType::kI32);
  check_matrix(cos, cos.rows(), head_dim / 2, DType::kF32);
  check_matrix(sin, cos.rows(), head_dim / 2, DType::kF32);
}

}  // namespace

void rope_forward(Stream& stream, const RopeForward& args) {
  const Tensor &q = args.q, &k = args.k;
  check_on_device(stream, q, k, args.q_weight, args.k_weight, args.positions, args.cos, args.sin, args.q_out,
                  args.k_out, args.rstd);
  check_heads(q, k, args.head_dim);
  check_angles(args.positions, args.cos, args.sin, q.rows(), args.head_dim);
  PRIMUS_CHECK(args.q_weight.empty() == args.k_weight.empty(), args.q_weight.describe(), args.k_weight.describe());
  check_vector_or_empty(args.q_weight, args.head_dim, q.dtype());
  check_vector_or_empty(args.k_weight, args.head_dim, q.dtype());
  check_matrix(args.q_out, q.rows(), q.columns(), q.dtype());
  check_matrix(args.k_out, k.rows(), k.columns(), k.dtype());
  if (args.rstd) check_matrix(args.rstd, q.rows(), (q.columns() + k.columns()) / args.head_dim, DType::kF32);
  if (q.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "rope_forward");
  stream.backend().ops->rope_forward(stream, args);
}

void rope_backward(Stream& stream, const RopeBackward& args) {
  const Tensor &d_q_out = args.d_q_out, &d_k_out = args.d_k_out;
  check_on_device(stream, d_q_out, args.d_q_sums, d_k_out, args.q, args.k, args.q_weight, args.k_weight, args.rstd,
                  args.positions, args.cos, args.sin, args.d_q, args.d_k, args.d_q_weight, args.d_k_weight);
  check_heads(d_q_out, d_k_out, args.head_dim);
  if (args.d_q_sums) check_vector(args.d_q_sums, d_q_out.numel(), DType::kF32);
  check_angles(args.positions, args.cos, args.sin, d_q_out.rows(), args.head_dim);
  check_matrix(args.d_q, d_q_out.rows(), d_q_out.columns(), d_q_out.dtype());
  check_matrix(args.d_k, d_k_out.rows(), d_k_out.columns(), d_q_out.dtype());
  PRIMUS_CHECK(args.q_weight.empty() == args.k_weight.empty(), args.q_weight.describe(), args.k_weight.describe());
  if (args.q_weight) {
    check_vector(args.q_weight, args.head_dim, d_q_out.dtype());
    check_vector(args.k_weight, args.head_dim, d_q_out.dtype());
    check_matrix(args.q, d_q_out.rows(), d_q_out.columns(), d_q_out.dtype());
    check_matrix(args.k, d_k_out.rows(), d_k_out.columns(), d_q_out.dtype());
    check_matrix(args.rstd, d_q_out.rows(), (d_q_out.columns() + d_k_out.columns()) / args.head_dim, DType::kF32);
  }
  check_gradient_or_empty(args.d_q_weight, args.head_dim);
  check_gradient_or_empty(args.d_k_weight, args.head_dim);
  PRIMUS_CHECK(!args.q_weight.empty() || (args.d_q_weight.empty() && args.d_k_weight.empty()),
               args.d_q_weight.describe(), args.d_k_weight.describe());
  if (d_q_out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "rope_backward");
  stream.backend().ops->rope_backward(stream, args);
}

}  // namespace primus::ops
