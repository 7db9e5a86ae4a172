#include "ops/loss.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {
namespace {

void check_logits(const Tensor& logits, const Tensor& targets, const Tensor& loss) {
  check_compute_matrix(logits);
  check_vector(targets, logits.rows(), DType::kI32);
  check_vector(loss, logits.rows(), DType::kF32);
}

std::size_t bytes_between_rows(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.row_stride()) * size_of(tensor.dtype());
}

}  // namespace

void gather_rows(Stream& stream, const GatherRows& args) {
  const auto& [x, index, out] = args;
  check_on_device(stream, x, index, out);
  check_compute_matrix(x);
  check_vector(index, index.columns(), DType::kI32);
  check_matrix(out, index.columns(), x.columns(), x.dtype());
  if (out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "gather_rows");
  stream.backend().ops->gather_rows(stream, args);
}

void scatter_rows(Stream& stream, const ScatterRows& args) {
  const auto& [x, index, out] = args;
  check_on_device(stream, x, index, out);
  check_compute_matrix(out);
  check_vector(index, index.columns(), DType::kI32);
  check_matrix(x, index.columns(), out.columns(), out.dtype());
  if (out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "scatter_rows");
  stream.backend().ops->scatter_rows(stream, args);
}

void cross_entropy_forward(Stream& stream, const CrossEntropyForward& args) {
  check_on_device(stream, args.logits, args.targets, args.loss);
  check_logits(args.logits, args.targets, args.loss);
  if (args.logits.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "cross_entropy_forward");
  stream.backend().ops->cross_entropy_forward(stream, args);
}

void cross_entropy_forward_backward(Stream& stream, const CrossEntropyForwardBackward& args) {
  const Tensor &logits = args.logits, &d_logits = args.d_logits;
  check_on_device(stream, logits, args.targets, args.loss, args.state, d_logits);
  check_logits(logits, args.targets, args.loss);
  check_vector(args.state, sizeof(StepState), DType::kU8);
  check_compute_matrix(d_logits);
  check_matrix(d_logits, logits.rows(), logits.columns(), d_logits.dtype());
  PRIMUS_CHECK(logits.dtype() == d_logits.dtype() || logits.dtype() == DType::kF32, logits.describe(),
               d_logits.describe());
  PRIMUS_CHECK(logits.data() != d_logits.data() || bytes_between_rows(logits) == bytes_between_rows(d_logits),
               logits.row_stride(), d_logits.row_stride());
  if (logits.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "cross_entropy_forward_backward");
  stream.backend().ops->cross_entropy_forward_backward(stream, args);
}

}  // namespace primus::ops
