#include "model/layer.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/elementwise.h"
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
  view.down_u = first_rows(down_u, tokens);
  view.activation = first_rows(activation, tokens);
  return view;
}

BackwardBuffers BackwardBuffers::first(std::int64_t tokens) const {
  return {.d_x = first_rows(d_x, tokens),
          .d_normed = first_rows(d_normed, tokens),
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

void Layer::norm_mid(const Pass& pass, const LayerActivations& activations) const {
  ops::rms_norm_forward(pass.stream, {.x = activations.mid,
                                      .weight = weights_->post_norm,
                                      .eps = static_cast<float>(config_->rms_norm_eps),
                                      .y = activations.mid_normed.columns(0, config_->hidden_size),
                                      .rstd = activations.mid_rstd});
}

void Layer::rotate(const Pass& pass, const Batch& batch, const Rope& rope, const LayerActivations& activations) const {
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
}

void Layer::attention_half(const Pass& pass, const Batch& batch, const Rope& rope, const Attend& attend,
                           const LayerActivations& activations) const {
  norm_input(pass, activations);
  weights_->qkv.forward(pass, activations.normed, activations.qkv);
  rotate(pass, batch, rope, activations);
  attend(pass, index_, activations);
  weights_->o_proj.forward(pass, activations.attention, activations.mid, activations.x);
  norm_mid(pass, activations);
}

void Layer::gate_up(const Pass& pass, const LayerActivations& activations, const Tensor& activation) const {
  const Linear& gate_up = weights_->gate_up;
  gate_up.adapt(pass, activations.mid_normed);
  ops::linear_swiglu_forward(pass.stream, {.x = activations.mid_normed,
                                           .weight = gate_up.weight,
                                           .bias = gate_up.bias,
                                           .gate_up = activations.gate_up,
                                           .out = activation});
}

void Layer::mlp_half(const Pass& pass, const LayerActivations& activations) const {
  gate_up(pass, activations, activations.activation.columns(0, weights_->down.in));
}

void Layer::restore_gate_up(const Pass& pass, const LayerActivations& activations) const {
  gate_up(pass, activations, {});
}

void Layer::mlp_output(const Pass& pass, const LayerActivations& activations, const Tensor& out) const {
  const Linear& down = weights_->down;
  down.forward(pass, activations.activation, out, activations.mid);
  if (activations.down_u) {
    ops::convert(pass.stream,
                 {.in = activations.activation.columns(down.in, down.extended()), .out = activations.down_u});
  }
}

void Layer::restore(const Pass& pass, const Batch& batch, const Rope& rope, const Attend& attend,
                    const LayerKeeps& keeps, const LayerActivations& activations) const {
  if (!keeps.norms) norm_input(pass, activations);
  if (!keeps.qkv) {
    weights_->qkv.forward(pass, activations.normed, activations.qkv);
  } else if (!keeps.norms) {
    weights_->qkv.adapt(pass, activations.normed);
  }
  // without QK norms the rotation is in place: what is kept of qkv is rotated
  if (!keeps.qkv || (!keeps.rotated && config_->qk_norm)) rotate(pass, batch, rope, activations);
  if (!keeps.attention) {
    attend(pass, index_, activations);
    weights_->o_proj.adapt(pass, activations.attention);
  }
  if (!keeps.norms) norm_mid(pass, activations);
  if (!keeps.gate_up) {
    restore_gate_up(pass, activations);
  } else if (!keeps.norms) {
    weights_->gate_up.adapt(pass, activations.mid_normed);
  }
}

void Layer::mlp_backward(const Pass& pass, const LayerActivations& activations, const BackwardBuffers& buffers,
                         const Tensor& d_normed) const {
  const Linear& down = weights_->down;
  const Linear& gate_up = weights_->gate_up;
  const Tensor& d_gate_up = activations.gate_up;                               // in its place
  const Tensor activation = activations.activation.columns(0, down.in);        // its gradient, then itself
  const Tensor du = activations.activation.columns(down.in, down.extended());  // of the down adapter
  const Tensor normed = activations.mid_normed.columns(0, gate_up.in);
  const Tensor u = activations.mid_normed.columns(gate_up.in, gate_up.extended());

  if (down.rank > 0) {
    down.backward_input(pass, buffers.d_x, activations.activation);
    down.backward_b(pass, buffers.d_x, activations.down_u);
  }
  if (down.rank == 0) {
    ops::linear_swiglu_backward(pass.stream, {.dy = buffers.d_x,
                                              .weight = down.weight,
                                              .gate_up = activations.gate_up,
                                              .d_gate_up = d_gate_up,
                                              .out = activation});
    down.backward_weight(pass, buffers.d_x, activation);
    gate_up.backward_b(pass, d_gate_up, u);
  } else if (gate_up.adapters.size() == 2 && !down.drops(pass)) {
    const Linear::Adapter& gate_adapter = gate_up.adapters.front();
    const Linear::Adapter& up_adapter = gate_up.adapters.back();
    ops::swiglu_lora_backward(pass.stream, {.d_out = activation,
                                            .du = du,
                                            .a = down.a,
                                            .d_a = down.d_a,
                                            .gate_up = activations.gate_up,
                                            .d_gate_up = d_gate_up,
                                            .u_gate = u.columns(gate_adapter.column_begin, gate_adapter.column_end),
                                            .u_up = u.columns(up_adapter.column_begin, up_adapter.column_end),
                                            .d_b_gate = gate_adapter.d_b,
                                            .d_b_up = up_adapter.d_b,
                                            .scale = gate_up.lora_scale,
                                            .accumulate = pass.accumulate});
  } else {
    down.backward_through_a(pass, activations.activation);
    ops::swiglu_backward(
        pass.stream, {.d_out = activation, .gate_up = activations.gate_up, .d_gate_up = d_gate_up, .out = activation});
    down.backward_weight(pass, buffers.d_x, activation);
    down.backward_a(pass, du, activation);
    gate_up.backward_b(pass, d_gate_up, u);
  }
  gate_up.backward_weight(pass, d_gate_up, normed);
  gate_up.backward_input(pass, d_gate_up, d_normed);
  gate_up.backward_a(pass, d_normed.columns(gate_up.in, gate_up.extended()), normed);
  gate_up.backward_through_a(pass, d_normed);
}

void Layer::backward(const Pass& pass, const Batch& batch, const Rope& rope, const LayerActivations& activations,
                     const BackwardBuffers& buffers) const {
  const std::int64_t hidden = config_->hidden_size;
  const std::int64_t q_size = config_->q_size();
  const std::int64_t kv_size = config_->kv_size();
  const std::int64_t tokens = activations.x.rows();

  const Tensor d_mid_normed = buffers.d_normed.columns(0, weights_->gate_up.extended());
  mlp_backward(pass, activations, buffers, d_mid_normed);
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
  const Tensor d_q_sums =
      ops::attention_backward_sums(pass.stream, {.shape = buffers.attention,
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
                                   .d_q_sums = d_q_sums,
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
