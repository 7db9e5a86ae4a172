#include "model/loss_head.h"

#include <algorithm>

#include "ops/linear.h"
#include "ops/loss.h"
#include "ops/rms_norm.h"

namespace primus::model {
namespace {

/// Rows of logits at a time: the budget's worth, a multiple of 64, at least 64 and no more than there are.
std::int64_t rows_of_budget(const ModelConfig& config, const DecoderOptions& options) {
  const std::int64_t row_bytes = config.vocab_size * 4;
  const std::int64_t rows = std::max<std::int64_t>(64, options.logits_bytes / row_bytes / 64 * 64);
  return std::min(rows, options.max_tokens);
}

}  // namespace

LossHead::LossHead(const ModelConfig& config, const Weights& weights, const DecoderOptions& options, Arena& arena)
    : config_(&config), weights_(&weights), chunk_rows_(rows_of_budget(config, options)) {
  const std::int64_t rows = options.max_tokens;
  const DType compute = options.compute_dtype;
  x_ = arena.matrix(MemoryKind::kLossHead, "trained rows", compute, rows, config.hidden_size);
  delta_ = arena.matrix(MemoryKind::kLossHead, "trained rows' delta", compute, rows, config.hidden_size);
  normed_ = arena.matrix(MemoryKind::kLossHead, "trained rows, normed", compute, rows, config.hidden_size);
  rstd_ = arena.vector(MemoryKind::kLossHead, "trained rows' rstd", DType::kF32, rows);
  losses_ = arena.vector(MemoryKind::kLossHead, "losses", DType::kF32, rows);
  logits_ = arena.matrix(MemoryKind::kLossHead, "logits", DType::kF32, chunk_rows_, config.vocab_size);
  d_logits_ = logits_;
  if (options.train && compute != DType::kF32) {
    d_logits_ = arena.matrix(MemoryKind::kLossHead, "logits' gradient", compute, chunk_rows_, config.vocab_size);
  }
}

void LossHead::norm_rows(const Pass& pass, const Tensor& rows, const Tensor& mid, const Tensor& delta) const {
  const std::int64_t count = rows.columns();
  const Tensor x = x_.slice(0, count);
  const Tensor row_delta = delta_.slice(0, count);
  ops::gather_rows(pass.stream, {.x = mid, .index = rows, .out = x});
  ops::gather_rows(pass.stream, {.x = delta, .index = rows, .out = row_delta});
  ops::add_rms_norm_forward(pass.stream, {.x = x,
                                          .delta = row_delta,
                                          .sum = x,
                                          .weight = weights_->final_norm,
                                          .eps = static_cast<float>(config_->rms_norm_eps),
                                          .y = normed_.slice(0, count),
                                          .rstd = rstd_.slice(0, count)});
}

void LossHead::evaluate(const Pass& pass, const Batch& batch, const Tensor& mid, const Tensor& delta,
                        const Tensor& state) const {
  const std::int64_t count = batch.trained();
  if (count == 0) return;
  norm_rows(pass, batch.trained_rows, mid, delta);
  for (std::int64_t begin = 0; begin < count; begin += chunk_rows_) {
    const std::int64_t end = std::min(begin + chunk_rows_, count);
    const Tensor logits = logits_.slice(0, end - begin);
    ops::linear_forward(pass.stream, {.x = normed_.slice(begin, end), .weight = weights_->head, .y = logits});
    ops::cross_entropy_forward(
        pass.stream, {.logits = logits, .targets = batch.targets.slice(begin, end), .loss = losses_.slice(begin, end)});
  }
  ops::add_loss(pass.stream, losses_.slice(0, count), state);
}

void LossHead::forward_backward(const Pass& pass, const Batch& batch, const Tensor& mid, const Tensor& delta,
                                float scale, const Tensor& state, const Tensor& d_x) const {
  const std::int64_t count = batch.trained();
  if (count == 0) {
    pass.stream.fill_zero(d_x);
    if (weights_->d_head && !pass.accumulate) pass.stream.fill_zero(weights_->d_head);
    return;
  }
  norm_rows(pass, batch.trained_rows, mid, delta);
  const Tensor d_normed = delta_;  // the gathered delta has been added: its memory takes the gradient
  for (std::int64_t begin = 0; begin < count; begin += chunk_rows_) {
    const std::int64_t end = std::min(begin + chunk_rows_, count);
    const Tensor normed = normed_.slice(begin, end);
    const Tensor logits = logits_.slice(0, end - begin);
    const Tensor d_logits = d_logits_.slice(0, end - begin);
    ops::linear_forward(pass.stream, {.x = normed, .weight = weights_->head, .y = logits});
    ops::cross_entropy_forward_backward(pass.stream, {.logits = logits,
                                                      .targets = batch.targets.slice(begin, end),
                                                      .loss = losses_.slice(begin, end),
                                                      .scale = scale,
                                                      .state = state,
                                                      .d_logits = d_logits});
    if (weights_->d_head) {
      ops::linear_backward_weight(
          pass.stream,
          {.dy = d_logits, .x = normed, .d_weight = weights_->d_head, .accumulate = pass.accumulate || begin > 0});
    }
    ops::linear_backward_input(pass.stream,
                               {.dy = d_logits, .weight = weights_->head, .dx = d_normed.slice(begin, end)});
  }
  ops::add_loss(pass.stream, losses_.slice(0, count), state);
  const Tensor d_rows = normed_.slice(0, count);
  ops::rms_norm_backward(pass.stream, {.dy = d_normed.slice(0, count),
                                       .x = x_.slice(0, count),
                                       .weight = weights_->final_norm,
                                       .rstd = rstd_.slice(0, count),
                                       .dx = d_rows,
                                       .d_weight = weights_->d_final_norm});
  ops::scatter_rows(pass.stream, {.x = d_rows, .index = batch.trained_rows, .out = d_x});
}

Tensor LossHead::logits(const Pass& pass, const Tensor& rows, const Tensor& mid, const Tensor& delta) const {
  const std::int64_t count = rows.columns();
  PRIMUS_CHECK(count <= chunk_rows_, count, chunk_rows_);
  norm_rows(pass, rows, mid, delta);
  const Tensor logits = logits_.slice(0, count);
  ops::linear_forward(pass.stream, {.x = normed_.slice(0, count), .weight = weights_->head, .y = logits});
  return logits;
}

}  // namespace primus::model
