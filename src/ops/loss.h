#pragma once

#include "ops/step_state.h"
#include "tensor/stream.h"
#include "tensor/tensor.h"

namespace primus::ops {

/// out[i] = x[index[i]]: the rows whose next token is trained.
struct GatherRows {
  Tensor x;      // (T, H)
  Tensor index;  // (n) i32, ascending, each once
  Tensor out;    // (n, H)
};
void gather_rows(Stream& stream, const GatherRows& args);

/// out[index[i]] = x[i], and zero in every other row.
struct ScatterRows {
  Tensor x;      // (n, H)
  Tensor index;  // (n) i32, ascending, each once
  Tensor out;    // (T, H)
};
void scatter_rows(Stream& stream, const ScatterRows& args);

/// loss[i] = log Σ_v exp(logits[i, v]) − logits[i, targets[i]], in f32.
struct CrossEntropyForward {
  Tensor logits;   // (n, vocab) f32 or the compute type
  Tensor targets;  // (n) i32
  Tensor loss;     // (n) f32
};
void cross_entropy_forward(Stream& stream, const CrossEntropyForward& args);

/// The loss as above, and d_logits = (softmax(logits) − onehot(target)) · scale · state.loss_scale in the same pass.
struct CrossEntropyForwardBackward {
  Tensor logits;       // (n, vocab) f32 or the compute type
  Tensor targets;      // (n) i32
  Tensor loss;         // (n) f32
  float scale = 1.0F;  // 1 / trained tokens of the global batch
  Tensor state;        // StepState, for its loss scale
  Tensor d_logits;     // (n, vocab), the compute type; may lie where logits lie, row i at row i's address
};
void cross_entropy_forward_backward(Stream& stream, const CrossEntropyForwardBackward& args);

}  // namespace primus::ops
