#include "ops/rms_norm.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {

void rms_norm_forward(Stream& stream, const RmsNormForward& args) {
  const Tensor& x = args.x;
  check_on_device(stream, x, args.weight, args.y, args.rstd);
  check_compute_matrix(x);
  check_vector(args.weight, x.columns(), x.dtype());
  check_matrix(args.y, x.rows(), x.columns(), x.dtype());
  check_vector_or_empty(args.rstd, x.rows(), DType::kF32);
  if (x.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "rms_norm_forward");
  stream.backend().ops->rms_norm_forward(stream, args);
}

void rms_norm_backward(Stream& stream, const RmsNormBackward& args) {
  const Tensor& x = args.x;
  check_on_device(stream, args.dy, x, args.weight, args.rstd, args.d_residual, args.dx, args.d_weight);
  check_compute_matrix(x);
  check_matrix(args.dy, x.rows(), x.columns(), x.dtype());
  check_vector(args.weight, x.columns(), x.dtype());
  check_vector(args.rstd, x.rows(), DType::kF32);
  if (args.d_residual) check_matrix(args.d_residual, x.rows(), x.columns(), x.dtype());
  check_matrix(args.dx, x.rows(), x.columns(), x.dtype());
  check_gradient_or_empty(args.d_weight, x.columns());
  if (x.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "rms_norm_backward");
  stream.backend().ops->rms_norm_backward(stream, args);
}

void add(Stream& stream, const Add& args) {
  const Tensor& x = args.x;
  check_on_device(stream, x, args.delta, args.sum);
  check_compute_matrix(x);
  check_matrix(args.delta, x.rows(), x.columns(), x.dtype());
  check_matrix(args.sum, x.rows(), x.columns(), x.dtype());
  if (x.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "add");
  stream.backend().ops->add(stream, args);
}

}  // namespace primus::ops
