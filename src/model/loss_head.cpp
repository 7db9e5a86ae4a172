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

/// A matrix of another type whose rows begin where those of `matrix` begin.
Tensor in_place_of(const Tensor& matrix, DType dtype) {
  const auto row_stride = matrix.row_stride() * static_cast<std::int64_t>(size_of(matrix.dtype()) / size_of(dtype));
  return {matrix.data(), dtype, matrix.device(), matrix.rows(), matrix.columns(), row_stride};
}

}  // namespace

LossHead::LossHead(const ModelConfig& config, const Weights& weights, const DecoderOptions& options, Arena& arena)
    : config_(&config), weights_(&weights), chunk_rows_(rows_of_budget(config, options)) {
  const DType compute = options.compute_dtype;
  const auto matrix = [&](const char* name, DType dtype, std::int64_t columns) {
    return arena.matrix(MemoryKind::kLossHead, name, dtype, chunk_rows_, columns);
  };
  x_ = matrix("trained rows", compute, config.hidden_size);
  normed_ = matrix("trained rows, normed", compute, config.hidden_size);
  rstd_ = arena.vector(MemoryKind::kLossHead, "trained rows' rstd", DType::kF32, chunk_rows_);
  losses_ = arena.vector(MemoryKind::kLossHead, "losses", DType::kF32, options.max_tokens);
  logits_ = matrix("logits", DType::kF32, config.vocab_size);
  d_logits_ = in_place_of(logits_, compute);
}

void LossHead::norm_rows(const Pass& pass, const Tensor& rows, const Tensor& x) const {
  const std::int64_t count = rows.columns();
  ops::gather_rows(pass.stream, {.x = x, .index = rows, .out = x_.slice(0, count)});
  ops::rms_norm_forward(pass.stream, {.x = x_.slice(0, count),
                                      .weight = weights_->final_norm,
                                      .eps = static_cast<float>(config_->rms_norm_eps),
                                      .y = normed_.slice(0, count),
                                      .rstd = rstd_.slice(0, count)});
}

void LossHead::evaluate(const Pass& pass, const Batch& batch, const Tensor& x, const Tensor& state) const {
  const std::int64_t count = batch.trained();
  if (count == 0) return;
  for (std::int64_t begin = 0; begin < count; begin += chunk_rows_) {
    const std::int64_t end = std::min(begin + chunk_rows_, count);
    norm_rows(pass, batch.trained_rows.slice(begin, end), x);
    const Tensor logits = logits_.slice(0, end - begin);
    ops::linear_forward(pass.stream, {.x = normed_.slice(0, end - begin), .weight = weights_->head, .y = logits});
    ops::cross_entropy_forward(
        pass.stream, {.logits = logits, .targets = batch.targets.slice(begin, end), .loss = losses_.slice(begin, end)});
  }
  ops::add_loss(pass.stream, losses_.slice(0, count), state);
}

void LossHead::forward_backward(const Pass& pass, const Batch& batch, const Tensor& x, float scale, const Tensor& state,
                                const Tensor& d_rows, const Tensor& d_x) const {
  const std::int64_t count = batch.trained();
  if (count == 0) {
    pass.stream.fill_zero(d_x);
    if (weights_->d_head && !pass.accumulate) pass.stream.fill_zero(weights_->d_head);
    return;
  }
  for (std::int64_t begin = 0; begin < count; begin += chunk_rows_) {
    const std::int64_t end = std::min(begin + chunk_rows_, count), size = end - begin;
    norm_rows(pass, batch.trained_rows.slice(begin, end), x);
    const Tensor normed = normed_.slice(0, size), logits = logits_.slice(0, size), d_logits = d_logits_.slice(0, size);
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
    const Tensor& d_normed = normed;  // in its place: the head's gradient has been made from it
    ops::linear_backward_input(pass.stream, {.dy = d_logits, .weight = weights_->head, .dx = d_normed});
    ops::rms_norm_backward(pass.stream, {.dy = d_normed,
                                         .x = x_.slice(0, size),
                                         .weight = weights_->final_norm,
                                         .rstd = rstd_.slice(0, size),
                                         .dx = d_rows.slice(begin, end),
                                         .d_weight = weights_->d_final_norm});
  }
  ops::add_loss(pass.stream, losses_.slice(0, count), state);
  ops::scatter_rows(pass.stream, {.x = d_rows.slice(0, count), .index = batch.trained_rows, .out = d_x});
}

Tensor LossHead::logits(const Pass& pass, const Tensor& rows, const Tensor& x) const {
  const std::int64_t count = rows.columns();
  PRIMUS_CHECK(count <= chunk_rows_, count, chunk_rows_);
  norm_rows(pass, rows, x);
  const Tensor logits = logits_.slice(0, count);
  ops::linear_forward(pass.stream, {.x = normed_.slice(0, count), .weight = weights_->head, .y = logits});
  return logits;
}

}  // namespace primus::model
