#pragma once

#include <functional>

#include "model/config.h"
#include "model/linear.h"
#include "model/options.h"
#include "model/weights.h"
#include "ops/attention.h"

namespace primus::model {

/// A micro-batch on the device; all tensors are views of buffers for the largest one. T tokens, n of them with a
/// trained next token.
struct Batch {
  Tensor ids;                   // (T) i32
  Tensor positions;             // (T) i32
  Tensor cu_seqlens;            // (documents + 1) i32; the last documents may be empty
  Tensor trained_rows;          // (n) i32
  Tensor targets;               // (n) i32
  std::int64_t max_seqlen = 0;  // no document is longer

  std::int64_t tokens() const { return ids.columns(); }
  std::int64_t trained() const { return trained_rows ? trained_rows.columns() : 0; }
};

/// What a layer computes on its way forward and backward reads again. Tensors have room for the largest micro-batch;
/// `first(T)` gives the views for one of T tokens. R is the adapters' columns of the projection that reads the buffer.
struct LayerActivations {
  Tensor x;           // (T, hidden)                the residual stream before the layer
  Tensor normed;      // (T, hidden + R)            input of qkv
  Tensor rstd;        // (T) f32
  Tensor qkv;         // (T, q + 2·kv)              rotated in place when there is no QK norm
  Tensor q;           // (T, q)                     with QK norm: normed and rotated; else columns of qkv
  Tensor k;           // (T, kv)
  Tensor v;           // (T, kv)                    columns of qkv
  Tensor qk_rstd;     // (T, heads + kv_heads) f32  with QK norm
  Tensor attention;   // (T, q + R)                 input of o_proj
  Tensor lse;         // (heads·T) f32
  Tensor mid;         // (T, hidden)                the residual stream between attention and MLP
  Tensor mid_normed;  // (T, hidden + R)            input of gate_up
  Tensor mid_rstd;    // (T) f32
  Tensor gate_up;     // (T, 2·intermediate)
  Tensor down_u;      // (T, R)                     what down_proj's adapter reads, beside activation in forward
  Tensor activation;  // (T, intermediate + R)      input of down_proj; one buffer for all layers: forward needs it no
                      //                            longer than the layer, backward restores it from gate_up

  LayerActivations first(const ModelConfig& config, std::int64_t tokens) const;
};

/// Gradients on their way back; one set for all layers.
struct BackwardBuffers {
  Tensor d_x;          // (T, hidden): of the residual stream
  Tensor d_normed;     // (T, hidden + R)
  Tensor d_attention;  // (T, q + R)
  Tensor d_qkv;        // (T, q + 2·kv)
  Tensor workspace;    // attention's
  ops::AttentionShape attention;

  BackwardBuffers first(std::int64_t tokens) const;
};

/// cos and sin: (positions, head_dim/2) f32
struct Rope {
  Tensor cos;
  Tensor sin;
};

/// How the queries of a layer meet their keys: over the micro-batch in training, through a cache in generation.
/// Writes `attention` (first columns) and, in training, `lse`.
using Attend = std::function<void(const Pass& pass, std::int64_t layer, const LayerActivations& activations)>;

/// One decoder layer: x + attention(norm(x)), then mid + mlp(norm(mid)). Everything is a view; nothing is owned.
class Layer {
 public:
  Layer(const ModelConfig& config, const LayerWeights& weights, std::int64_t index)
      : config_(&config), weights_(&weights), index_(index) {}

  /// From activations.x through attention to activations.mid and its norm.
  void attention_half(const Pass& pass, const Batch& batch, const Rope& rope, const Attend& attend,
                      const LayerActivations& activations) const;
  /// From the normed mid to activations.gate_up and activation, silu(gate)·up.
  void mlp_half(const Pass& pass, const LayerActivations& activations) const;
  /// The same without activation.
  void restore_gate_up(const Pass& pass, const LayerActivations& activations) const;
  /// out (T, hidden) = mid + down_proj(activation): the next layer's x. Leaves down_u.
  void mlp_output(const Pass& pass, const LayerActivations& activations, const Tensor& out) const;

  /// Computes again what `keeps` left out, in forward's order.
  void restore(const Pass& pass, const Batch& batch, const Rope& rope, const Attend& attend, const LayerKeeps& keeps,
               const LayerActivations& activations) const;

  /// buffers.d_x: from the gradient of the layer's output to that of x. gate_up is overwritten.
  void backward(const Pass& pass, const Batch& batch, const Rope& rope, const LayerActivations& activations,
                const BackwardBuffers& buffers) const;

 private:
  void norm_input(const Pass& pass, const LayerActivations& activations) const;
  void norm_mid(const Pass& pass, const LayerActivations& activations) const;
  void gate_up(const Pass& pass, const LayerActivations& activations, const Tensor& activation) const;
  /// Queries and keys from qkv, normed (where the model does) and rotated.
  void rotate(const Pass& pass, const Batch& batch, const Rope& rope, const LayerActivations& activations) const;
  /// Of mlp_half and mlp_output: d_normed (T, hidden + R) from d_x. gate_up and activation become their gradients, or
  /// scratch.
  void mlp_backward(const Pass& pass, const LayerActivations& activations, const BackwardBuffers& buffers,
                    const Tensor& d_normed) const;

  const ModelConfig* config_;
  const LayerWeights* weights_;
  std::int64_t index_;
};

ops::AttentionShape attention_shape(const ModelConfig& config);

/// Attention over the documents of the micro-batch.
Attend attend_over(const ModelConfig& config, const Batch& batch);

}  // namespace primus::model
