#include "model/layer.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/swiglu.h"

namespace primus::model {
namespace {

Tensor first_rows(const Tensor& tensor, std::int64_t rows) { return tensor ? tensor.slice(0, rows) : Tensor(); }

}  // namespace

ops::AttentionShape attention_shape(const ModelConfig& config) {
  return {.heads = static_cast<int>(config.num_attention_heads),
          .kv_heads = static_cast<int>(config.num_key_value_heads),
          .head_dim = static_cast<int>(config.head_dim),
          .scale = 1.0F / std::sqrt(static_cast<float>(config.head_dim))};
}

LayerActivations LayerActivations::first(const ModelConfig& config, std::int64_t tokens) const {
  LayerActivations view;
  view.x = first_rows(x, tokens);
  view.normed = first_rows(normed, tokens);
  view.rstd = first_rows(rstd, tokens);
  view.qkv = first_rows(qkv, tokens);
  view.q = first_rows(q, tokens);
  view.k = first_rows(k, tokens);
  view.v = first_rows(v, tokens);
  view.qk_rstd = first_rows(qk_rstd, tokens);
  view.attention = first_rows(attention, tokens);
  view.lse = lse.slice(0, config.num_attention_heads * tokens).as_matrix(config.num_attention_heads, tokens);
  view.mid = first_rows(mid, tokens);
  view.mid_normed = first_rows(mid_normed, tokens);
  view.mid_rstd = first_rows(mid_rstd, tokens);
  view.gate_up = first_rows(gate_up, tokens);
  view.activation = first_rows(activation, tokens);
  return view;
}

BackwardBuffers BackwardBuffers::first(std::int64_t tokens) const {
  return {.d_x = first_rows(d_x, tokens),
          .d_normed = first_rows(d_normed, tokens),
          .d_activation = first_rows(d_activation, tokens),
          .d_attention = first_rows(d_attention, tokens),
          .d_qkv = first_rows(d_qkv, tokens),
          .workspace = workspace,
          .attention = attention};
}

Attend attend_over(const ModelConfig& config, const Batch& batch) {
  return [shape = attention_shape(config), batch](const Pass& pass, std::int64_t /*layer*/,
                                                  const LayerActivations& activations) {
    ops::attention_forward(pass.stream, {.shape = shape,
                                         .q = activations.q,
                                         .k = activations.k,
                                         .v = activations.v,
                                         .cu_seqlens = batch.cu_seqlens,
                                         .max_seqlen = batch.max_seqlen,
                                         .out = activations.attention.columns(0, activations.q.columns()),
                                         .lse = activations.lse});
  };
}

void Layer::norm_input(const Pass& pass, const LayerActivations& activations) const {
  ops::rms_norm_forward(pass.stream, {.x = activations.x,
                                      .weight = weights_->input_norm,
                                      .eps = static_cast<float>(config_->rms_norm_eps),
                                      .y = activations.normed.columns(0, config_->hidden_size),
                                      .rstd = activations.rstd});
}

void Layer::add_and_norm_input(const Pass& pass, const Tensor& mid, const Tensor& delta,
                               const LayerActivations& activations) const {
  ops::add_rms_norm_forward(pass.stream, {.x = mid,
                                          .delta = delta,
                                          .sum = activations.x,
                                          .weight = weights_->input_norm,
                                          .eps = static_cast<float>(config_->rms_norm_eps),
                                          .y = activations.normed.columns(0, config_->hidden_size),
                                          .rstd = activations.rstd});
}

void Layer::attention_half(const Pass& pass, const Batch& batch, const Rope& rope, const Attend& attend,
                           const Tensor& delta, const LayerActivations& activations) const {
  weights_->qkv.forward(pass, activations.normed, activations.qkv);
  ops::rope_forward(pass.stream,
                    {.q = activations.qkv.columns(0, config_->q_size()),
                     .k = activations.qkv.columns(config_->q_size(), config_->q_size() + config_->kv_size()),
                     .head_dim = static_cast<int>(config_->head_dim),
                     .q_weight = weights_->q_norm,
                     .k_weight = weights_->k_norm,
                     .eps = static_cast<float>(config_->rms_norm_eps),
                     .positions = batch.positions,
                     .cos = rope.cos,
                     .sin = rope.sin,
                     .q_out = activations.q,
                     .k_out = activations.k,
                     .rstd = activations.qk_rstd});
  attend(pass, index_, activations);
  weights_->o_proj.forward(pass, activations.attention, delta);
  ops::add_rms_norm_forward(pass.stream, {.x = activations.x,
                                          .delta = delta,
                                          .sum = activations.mid,
                                          .weight = weights_->post_norm,
                                          .eps = static_cast<float>(config_->rms_norm_eps),
                                          .y = activations.mid_normed.columns(0, config_->hidden_size),
                                          .rstd = activations.mid_rstd});
}

void Layer::mlp_half(const Pass& pass, const LayerActivations& activations) const {
  weights_->gate_up.forward(pass, activations.mid_normed, activations.gate_up);
  ops::swiglu_forward(pass.stream, {.gate_up = activations.gate_up,
                                    .out = activations.activation.columns(0, config_->intermediate_size)});
}

void Layer::mlp_output(const Pass& pass, const LayerActivations& activations, const Tensor& delta) const {
  weights_->down.forward(pass, activations.activation, delta);
}

void Layer::restore(const Pass& pass, const LayerKeeps& keeps, const Attend& attend,
                    const LayerActivations& activations) const {
  const auto eps = static_cast<float>(config_->rms_norm_eps);
  if (!keeps.norms) {
    norm_input(pass, activations);
    weights_->qkv.adapt(pass, activations.normed);
    ops::rms_norm_forward(pass.stream, {.x = activations.mid,
                                        .weight = weights_->post_norm,
                                        .eps = eps,
                                        .y = activations.mid_normed.columns(0, config_->hidden_size),
                                        .rstd = activations.mid_rstd});
    weights_->gate_up.adapt(pass, activations.mid_normed);
  }
  if (!keeps.attention) {
    attend(pass, index_, activations);
    weights_->o_proj.adapt(pass, activations.attention);
  }
  if (!keeps.gate_up) weights_->gate_up.forward(pass, activations.mid_normed, activations.gate_up);
  if (!keeps.activation) {
    ops::swiglu_forward(pass.stream, {.gate_up = activations.gate_up,
                                      .out = activations.activation.columns(0, config_->intermediate_size)});
    weights_->down.adapt(pass, activations.activation);
  }
}

void Layer::backward(const Pass& pass, const Batch& batch, const Rope& rope, const LayerActivations& activations,
                     const BackwardBuffers& buffers) const {
  const std::int64_t hidden = config_->hidden_size;
  const std::int64_t q_size = config_->q_size();
  const std::int64_t kv_size = config_->kv_size();
  const std::int64_t tokens = activations.x.rows();

  weights_->down.backward(pass, buffers.d_x, activations.activation, buffers.d_activation);
  ops::swiglu_backward(pass.stream, {.d_out = buffers.d_activation.columns(0, config_->intermediate_size),
                                     .gate_up = activations.gate_up,
                                     .d_gate_up = activations.gate_up});
  const Tensor d_mid_normed = buffers.d_normed.columns(0, weights_->gate_up.extended());
  weights_->gate_up.backward(pass, activations.gate_up, activations.mid_normed, d_mid_normed);
  ops::rms_norm_backward(pass.stream, {.dy = d_mid_normed.columns(0, hidden),
                                       .x = activations.mid,
                                       .weight = weights_->post_norm,
                                       .rstd = activations.mid_rstd,
                                       .d_residual = buffers.d_x,
                                       .dx = buffers.d_x,
                                       .d_weight = weights_->d_post_norm});

  weights_->o_proj.backward(pass, buffers.d_x, activations.attention, buffers.d_attention);
  const Tensor d_q = buffers.d_qkv.columns(0, q_size);
  const Tensor d_k = buffers.d_qkv.columns(q_size, q_size + kv_size);
  ops::attention_backward(pass.stream, {.shape = buffers.attention,
                                        .d_out = buffers.d_attention.columns(0, q_size),
                                        .q = activations.q,
                                        .k = activations.k,
                                        .v = activations.v,
                                        .out = activations.attention.columns(0, q_size),
                                        .lse = activations.lse,
                                        .cu_seqlens = batch.cu_seqlens,
                                        .max_seqlen = batch.max_seqlen,
                                        .d_q = d_q,
                                        .d_k = d_k,
                                        .d_v = buffers.d_qkv.columns(q_size + kv_size, q_size + 2 * kv_size),
                                        .workspace = buffers.workspace});
  ops::rope_backward(pass.stream, {.d_q_out = d_q,
                                   .d_k_out = d_k,
                                   .head_dim = static_cast<int>(config_->head_dim),
                                   .q = activations.qkv.columns(0, q_size),
                                   .k = activations.qkv.columns(q_size, q_size + kv_size),
                                   .q_weight = weights_->q_norm,
                                   .k_weight = weights_->k_norm,
                                   .rstd = activations.qk_rstd,
                                   .positions = batch.positions,
                                   .cos = rope.cos,
                                   .sin = rope.sin,
                                   .d_q = d_q,
                                   .d_k = d_k,
                                   .d_q_weight = weights_->d_q_norm,
                                   .d_k_weight = weights_->d_k_norm});
  const Tensor d_normed = buffers.d_normed.slice(0, tokens).columns(0, weights_->qkv.extended());
  weights_->qkv.backward(pass, buffers.d_qkv, activations.normed, d_normed);
  ops::rms_norm_backward(pass.stream, {.dy = d_normed.columns(0, hidden),
                                       .x = activations.x,
                                       .weight = weights_->input_norm,
                                       .rstd = activations.rstd,
                                       .d_residual = buffers.d_x,
                                       .dx = buffers.d_x,
                                       .d_weight = weights_->d_input_norm});
}

}  // namespace primus::model
