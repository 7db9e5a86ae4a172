#pragma once

#include "model/layer.h"
#include "ops/step_state.h"
#include "tensor/arena.h"

namespace primus::model {

/// The end of the model: final norm, LM head and cross entropy, for the rows alone whose next token is trained, some
/// rows at a time (a chunk) so that the logits never exist whole. Forward and backward happen together: a chunk's
/// logits become their own gradient, in the same memory.
class LossHead {
 public:
  LossHead(const ModelConfig& config, const Weights& weights, const DecoderOptions& options, Arena& arena);

  /// state.loss_sum += Σ losses. x (T, hidden) is the residual stream after the last layer.
  void evaluate(const Pass& pass, const Batch& batch, const Tensor& x, const Tensor& state) const;

  /// The same, and the gradients of Σ losses · scale · loss_scale: parameters' are added to, d_x (T, hidden) is
  /// written and may be x. `d_rows` (T, hidden) lends its memory.
  void forward_backward(const Pass& pass, const Batch& batch, const Tensor& x, float scale, const Tensor& state,
                        const Tensor& d_rows, const Tensor& d_x) const;

  /// Logits (n, vocab) f32 of the given rows (n) i32, n at most chunk_rows().
  Tensor logits(const Pass& pass, const Tensor& rows, const Tensor& x) const;

  std::int64_t chunk_rows() const { return chunk_rows_; }

 private:
  /// normed_ (n, hidden) of the rows, and their residual stream and statistics for backward.
  void norm_rows(const Pass& pass, const Tensor& rows, const Tensor& x) const;

  const ModelConfig* config_;
  const Weights* weights_;
  std::int64_t chunk_rows_;
  Tensor x_;         // (chunk, hidden)
  Tensor normed_;    // (chunk, hidden), then its gradient
  Tensor rstd_;      // (chunk) f32
  Tensor losses_;    // (T) f32
  Tensor logits_;    // (chunk, vocab) f32
  Tensor d_logits_;  // (chunk, vocab) compute type, in the logits' memory
};

}  // namespace primus::model
