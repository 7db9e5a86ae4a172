#include "ops/step_state.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {
namespace {

void check_state(const Stream& stream, const Tensor& state) {
  check_on_device(stream, state);
  check_vector(state, sizeof(StepState), DType::kU8);
}

}  // namespace

void begin_step(Stream& stream, const Tensor& state) {
  check_state(stream, state);
  const Observed observed(stream, WorkKind::kOptimizer, "begin_step");
  stream.backend().ops->begin_step(stream, state);
}

void add_loss(Stream& stream, const Tensor& loss, const Tensor& state) {
  check_state(stream, state);
  check_on_device(stream, loss);
  check_vector(loss, loss.columns(), DType::kF32);
  const Observed observed(stream, WorkKind::kElementwise, "add_loss");
  stream.backend().ops->add_loss(stream, loss, state);
}

void add_squared_norm(Stream& stream, const Tensor& grads, const Tensor& state) {
  check_state(stream, state);
  check_on_device(stream, grads);
  PRIMUS_CHECK(is_state_type(grads.dtype()) && grads.is_contiguous(), grads.describe(), grads.row_stride());
  if (grads.numel() == 0) return;
  const Observed observed(stream, WorkKind::kOptimizer, "add_squared_norm");
  stream.backend().ops->add_squared_norm(stream, grads, state);
}

void decide_step(Stream& stream, const DecideStep& args) {
  check_state(stream, args.state);
  PRIMUS_CHECK(args.clip_grad >= 0.0, args.clip_grad);
  PRIMUS_CHECK(args.growth_interval > 0, args.growth_interval);
  const Observed observed(stream, WorkKind::kOptimizer, "decide_step");
  stream.backend().ops->decide_step(stream, args);
}

}  // namespace primus::ops
