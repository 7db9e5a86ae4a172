#include "model/linear.h"

#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"

namespace primus::model {
namespace {

/// Projections of a model are fewer than this; micro-batch and projection together name a dropout mask.
constexpr std::uint64_t kProjections = 1 << 16;

}  // namespace

Tensor Linear::drop(const Pass& pass, const Tensor& x) const {
  if (!drops(pass)) return x;
  const Tensor target = dropped.slice(0, x.rows());
  ops::dropout(pass.stream, {.x = x,
                             .out = target,
                             .probability = dropout,
                             .seed = pass.seed,
                             .stream_id = pass.micro_batch * kProjections + id});
  return target;
}

void Linear::adapt(const Pass& pass, const Tensor& input) const {
  if (rank == 0) return;
  ops::linear_forward(pass.stream,
                      {.x = drop(pass, input.columns(0, in)), .weight = a, .y = input.columns(in, in + rank)});
}

void Linear::forward(const Pass& pass, const Tensor& input, const Tensor& y, const Tensor& addend) const {
  adapt(pass, input);
  ops::linear_forward(pass.stream, {.x = input, .weight = weight, .bias = bias, .addend = addend, .y = y});
}

void Linear::backward(const Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& d_input) const {
  backward_weight(pass, dy, input.columns(0, in));
  backward_input(pass, dy, d_input);
  backward_b(pass, dy, input.columns(in, in + rank));
  backward_a(pass, d_input.columns(in, in + rank), input.columns(0, in));
  backward_through_a(pass, d_input);
}

void Linear::backward_input(const Pass& pass, const Tensor& dy, const Tensor& d_input) const {
  ops::linear_backward_input(pass.stream, {.dy = dy, .weight = weight, .dx = d_input});
}

void Linear::backward_through_a(const Pass& pass, const Tensor& d_input) const {
  if (rank == 0) return;
  const Tensor dx = d_input.columns(0, in);
  const Tensor du = d_input.columns(in, in + rank);
  if (!drops(pass)) {
    ops::linear_backward_input(pass.stream, {.dy = du, .weight = a, .dx = dx, .accumulate = true});
    return;
  }
  const Tensor through = dropped.slice(0, dx.rows());
  ops::linear_backward_input(pass.stream, {.dy = du, .weight = a, .dx = through});
  drop(pass, through);
  ops::add(pass.stream, {.x = dx, .delta = through, .sum = dx});
}

void Linear::backward_weight(const Pass& pass, const Tensor& dy, const Tensor& x) const {
  if (d_weight)
    ops::linear_backward_weight(pass.stream, {.dy = dy, .x = x, .d_weight = d_weight, .accumulate = pass.accumulate});
  if (d_bias) ops::bias_backward(pass.stream, {.dy = dy, .d_bias = d_bias});
}

void Linear::backward_a(const Pass& pass, const Tensor& du, const Tensor& x) const {
  if (!d_a) return;
  ops::linear_backward_weight(pass.stream,
                              {.dy = du, .x = drop(pass, x), .d_weight = d_a, .accumulate = pass.accumulate});
}

void Linear::backward_b(const Pass& pass, const Tensor& dy, const Tensor& u) const {
  for (const Adapter& adapter : adapters) {
    if (!adapter.d_b) continue;
    ops::linear_backward_weight(pass.stream, {.dy = dy.columns(adapter.row_begin, adapter.row_end),
                                              .x = u.columns(adapter.column_begin, adapter.column_end),
                                              .d_weight = adapter.d_b,
                                              .scale = lora_scale,
                                              .accumulate = pass.accumulate});
  }
}

}  // namespace primus::model
