#pragma once

#include <cstdint>

#include "ops/step_state.h"
#include "tensor/stream.h"
#include "tensor/tensor.h"

namespace primus::ops {

/// Decoupled AdamW (Loshchilov & Hutter 2019) in one pass over flat buffers, in f32, t = state.updates counted by
/// decide_step:
///   g = grads · state.grad_multiplier
///   m = β1·m + (1−β1)·g;  v = β2·v + (1−β2)·g²
///   w = w − lr·( (m / (1−β1ᵗ)) / (√(v / (1−β2ᵗ)) + eps) + weight_decay·w )
/// Nothing changes when state.skip is 1. States kept in bf16 are rounded stochastically, so that small updates are not
/// lost: 16 random bits are added below the bits that are kept. With e = first_element + i and the words w of block e /
/// 2 of Philox{seed, updates}, even e take w0 and w1, odd e take w2 and w3: master from the low half of the first word,
/// exp_avg from its high half, exp_avg_sq from the low half of the second.
struct AdamW {
  Tensor grads;       // (n) f32 or bf16
  Tensor master;      // (n) f32 or bf16: the weights that the optimizer keeps
  Tensor exp_avg;     // (n) f32 or bf16: m
  Tensor exp_avg_sq;  // (n) f32 or bf16: v
  Tensor weights;  // (n) compute type: the kept master weights, rounded to nearest; or empty: those are used directly
  double lr = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.0;
  std::uint64_t seed = 0;
  std::uint64_t first_element = 0;  // index of element 0 in the whole flat buffer, for the random stream
  Tensor state;
};
void adamw(Stream& stream, const AdamW& args);

}  // namespace primus::ops
