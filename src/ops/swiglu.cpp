#include "ops/swiglu.h"

#include "ops/check.h"
#include "ops/linear.h"
#include "ops/table.h"

namespace primus::ops {
namespace {

void check_gradient(const Tensor& gradient, std::int64_t rows, std::int64_t columns) {
  PRIMUS_CHECK(is_state_type(gradient.dtype()), gradient.describe());
  check_matrix(gradient, rows, columns, gradient.dtype());
}

void compose_swiglu_lora_backward(Stream& stream, const SwigluLoraBackward& args) {
  const std::int64_t width = args.d_out.columns();
  linear_backward_input(stream, {.dy = args.du, .weight = args.a, .dx = args.d_out, .accumulate = true});
  const Tensor& out = args.d_out;  // in its place
  swiglu_backward(stream, {.d_out = args.d_out, .gate_up = args.gate_up, .d_gate_up = args.d_gate_up, .out = out});
  linear_backward_weight(stream, {.dy = args.du, .x = out, .d_weight = args.d_a, .accumulate = args.accumulate});
  const auto backward_b = [&](const Tensor& dy, const Tensor& u, const Tensor& d_b) {
    linear_backward_weight(stream,
                           {.dy = dy, .x = u, .d_weight = d_b, .scale = args.scale, .accumulate = args.accumulate});
  };
  backward_b(args.d_gate_up.columns(0, width), args.u_gate, args.d_b_gate);
  backward_b(args.d_gate_up.columns(width, 2 * width), args.u_up, args.d_b_up);
}

}  // namespace

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
  check_on_device(stream, d_out, args.gate_up, args.d_gate_up, args.out);
  check_compute_matrix(d_out);
  check_matrix(args.gate_up, d_out.rows(), 2 * d_out.columns(), d_out.dtype());
  check_matrix(args.d_gate_up, d_out.rows(), 2 * d_out.columns(), d_out.dtype());
  if (args.out) check_matrix(args.out, d_out.rows(), d_out.columns(), d_out.dtype());
  if (d_out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "swiglu_backward");
  stream.backend().ops->swiglu_backward(stream, args);
}

void linear_swiglu_forward(Stream& stream, const LinearSwigluForward& args) {
  const auto& [x, weight, bias, gate_up, out] = args;
  check_on_device(stream, x, weight, bias, gate_up, out);
  check_compute_matrix(x);
  PRIMUS_CHECK(weight.rows() % 2 == 0, weight.describe());
  check_matrix(weight, weight.rows(), x.columns(), x.dtype());
  check_vector_or_empty(bias, weight.rows(), x.dtype());
  check_matrix(gate_up, x.rows(), weight.rows(), x.dtype());
  if (out) check_matrix(out, x.rows(), weight.rows() / 2, x.dtype());
  if (x.rows() > 0 && stream.backend().ops->linear_swiglu_forward(stream, args)) return;
  linear_forward(stream, {.x = x, .weight = weight, .bias = bias, .y = gate_up});
  if (out) swiglu_forward(stream, {.gate_up = gate_up, .out = out});
}

void linear_swiglu_backward(Stream& stream, const LinearSwigluBackward& args) {
  const auto& [dy, weight, gate_up, d_gate_up, out] = args;
  check_on_device(stream, dy, weight, gate_up, d_gate_up, out);
  check_compute_matrix(dy);
  check_matrix(weight, dy.columns(), weight.columns(), dy.dtype());
  check_matrix(gate_up, dy.rows(), 2 * weight.columns(), dy.dtype());
  check_matrix(d_gate_up, dy.rows(), 2 * weight.columns(), dy.dtype());
  check_matrix(out, dy.rows(), weight.columns(), dy.dtype());
  if (dy.rows() > 0 && stream.backend().ops->linear_swiglu_backward(stream, args)) return;
  linear_backward_input(stream, {.dy = dy, .weight = weight, .dx = out});
  swiglu_backward(stream, {.d_out = out, .gate_up = gate_up, .d_gate_up = d_gate_up, .out = out});
}

void swiglu_lora_backward(Stream& stream, const SwigluLoraBackward& args) {
  const std::int64_t tokens = args.d_out.rows(), width = args.d_out.columns();
  const std::int64_t rank = args.du.columns(), b_rank = args.u_gate.columns();
  const DType dtype = args.d_out.dtype();
  check_on_device(stream, args.d_out, args.du, args.a, args.d_a, args.gate_up, args.d_gate_up, args.u_gate, args.u_up,
                  args.d_b_gate, args.d_b_up);
  check_compute_matrix(args.d_out);
  check_matrix(args.du, tokens, rank, dtype);
  check_matrix(args.a, rank, width, dtype);
  check_gradient(args.d_a, rank, width);
  check_matrix(args.gate_up, tokens, 2 * width, dtype);
  check_matrix(args.d_gate_up, tokens, 2 * width, dtype);
  check_matrix(args.u_gate, tokens, b_rank, dtype);
  check_matrix(args.u_up, tokens, b_rank, dtype);
  check_gradient(args.d_b_gate, width, b_rank);
  check_gradient(args.d_b_up, width, b_rank);
  if (tokens > 0 && stream.backend().ops->swiglu_lora_backward(stream, args)) return;
  compose_swiglu_lora_backward(stream, args);
}

}  // namespace primus::ops
