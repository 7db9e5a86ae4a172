#include "ops/linear.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {
namespace {

void clear(Stream& stream, const Tensor& matrix) {
  if (matrix.is_contiguous()) return stream.fill_zero(matrix);
  for (std::int64_t row = 0; row < matrix.rows(); ++row) stream.fill_zero(matrix.slice(row, row + 1));
}

}  // namespace

void linear_forward(Stream& stream, const LinearForward& args) {
  const auto& [x, weight, bias, addend, y] = args;
  check_on_device(stream, x, weight, bias, addend, y);
  check_compute_matrix(x);
  check_matrix(weight, weight.rows(), x.columns(), x.dtype());
  check_vector_or_empty(bias, weight.rows(), x.dtype());
  check_matrix(y, x.rows(), weight.rows(), y.dtype());
  if (addend) check_matrix(addend, y.rows(), y.columns(), y.dtype());
  PRIMUS_CHECK(y.dtype() == x.dtype() || y.dtype() == DType::kF32, y.describe(), x.describe());
  if (x.rows() == 0) return;
  const Observed observed(stream, WorkKind::kGemm, "linear_forward");
  stream.backend().ops->linear_forward(stream, args);
}

void linear_backward_input(Stream& stream, const LinearBackwardInput& args) {
  const auto& [dy, weight, dx, accumulate] = args;
  check_on_device(stream, dy, weight, dx);
  check_compute_matrix(dy);
  check_matrix(weight, dy.columns(), weight.columns(), dy.dtype());
  check_matrix(dx, dy.rows(), weight.columns(), dx.dtype());
  PRIMUS_CHECK(dx.dtype() == dy.dtype() || dx.dtype() == DType::kF32, dx.describe(), dy.describe());
  if (dy.rows() == 0) return;
  const Observed observed(stream, WorkKind::kGemm, "linear_backward_input");
  stream.backend().ops->linear_backward_input(stream, args);
}

void linear_backward_weight(Stream& stream, const LinearBackwardWeight& args) {
  const auto& [dy, x, d_weight, scale, accumulate] = args;
  check_on_device(stream, dy, x, d_weight);
  check_compute_matrix(dy);
  check_matrix(x, dy.rows(), x.columns(), dy.dtype());
  check_matrix(d_weight, dy.columns(), x.columns(), d_weight.dtype());
  PRIMUS_CHECK(is_state_type(d_weight.dtype()), d_weight.describe());
  if (dy.rows() == 0) {
    if (!accumulate) clear(stream, d_weight);
    return;
  }
  const Observed observed(stream, WorkKind::kGemm, "linear_backward_weight");
  stream.backend().ops->linear_backward_weight(stream, args);
}

void bias_backward(Stream& stream, const BiasBackward& args) {
  check_on_device(stream, args.dy, args.d_bias);
  check_compute_matrix(args.dy);
  PRIMUS_CHECK(!args.d_bias.empty(), args.d_bias.describe());
  check_gradient_or_empty(args.d_bias, args.dy.columns());
  if (args.dy.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "bias_backward");
  stream.backend().ops->bias_backward(stream, args);
}

}  // namespace primus::ops
