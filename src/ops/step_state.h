#pragma once

#include <cstdint>

#include "tensor/stream.h"
#include "tensor/tensor.h"

/// What a step decides about itself lives on the device, so that the host never waits for it: the loss, the gradient
/// norm, the clipping factor, whether the step is skipped, and the dynamic loss scale.
namespace primus::ops {

struct StepState {
  double loss_sum;         // Σ of the trained tokens' losses in this step
  double grad_sq_sum;      // Σ of squared gradients, still multiplied by the loss scale
  double grad_norm;        // √grad_sq_sum / loss_scale; infinite or NaN where the gradients are
  double grad_multiplier;  // what the optimizer multiplies gradients with: clipping and 1/loss_scale
  double loss_scale;       // 1 unless the scale is dynamic
  std::int64_t updates;    // optimizer steps done: AdamW's t
  std::int32_t skip;       // 1: this step's gradients or loss are not finite, nothing is updated
  std::int32_t skipped;    // steps skipped in the run
  std::int32_t skipped_in_a_row;
  std::int32_t finite_in_a_row;  // since the loss scale changed
};

/// A Tensor (sizeof(StepState)) of u8 holds it.

/// loss_sum = grad_sq_sum = 0
void begin_step(Stream& stream, const Tensor& state);

/// state.loss_sum += Σ loss, in order
void add_loss(Stream& stream, const Tensor& loss, const Tensor& state);

/// state.grad_sq_sum += Σ grads², in f64 and in a fixed order
void add_squared_norm(Stream& stream, const Tensor& grads, const Tensor& state);

struct DecideStep {
  Tensor state;
  double clip_grad = 0.0;  // 0: none; else the multiplier is min(1, clip_grad / (norm + 1e-6)), as PyTorch
  bool dynamic_loss_scale = false;
  double growth_factor = 2.0;   // after growth_interval finite steps in a row
  double backoff_factor = 0.5;  // after a step that is not finite
  int growth_interval = 2000;
  double min_loss_scale = 1.0;
  double max_loss_scale = 65536.0 * 65536.0;
};
/// Sets grad_norm, grad_multiplier, skip and the counters from the sums; then adapts the loss scale for the next step.
void decide_step(Stream& stream, const DecideStep& args);

}  // namespace primus::ops
