#include "ops/swiglu.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {

void swiglu_forward(Stream& stream, const SwigluForward& args) {
  check_on_device(stream, args.gate_up, args.out);
  check_compute_matrix(args.out);
  check_matrix(args.gate_up, args.out.rows(), 2 * args.out.columns(), args.out.dtype());
  if (args.out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "swiglu_forward");
  stream.backend().ops->swiglu_forward(stream, args);
}

void swiglu_backward(Stream& stream, const SwigluBackward& args) {
  const Tensor& d_out = args.d_out;
  check_on_device(stream, d_out, args.gate_up, args.d_gate_up);
  check_compute_matrix(d_out);
  check_matrix(args.gate_up, d_out.rows(), 2 * d_out.columns(), d_out.dtype());
  check_matrix(args.d_gate_up, d_out.rows(), 2 * d_out.columns(), d_out.dtype());
  if (d_out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "swiglu_backward");
  stream.backend().ops->swiglu_backward(stream, args);
}

}  // namespace primus::ops
