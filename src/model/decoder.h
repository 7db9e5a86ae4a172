#pragma once

#include <string>
#include <vector>

#include "model/batch.h"
#include "model/config.h"
#include "model/layer.h"
#include "model/loss_head.h"
#include "model/offload.h"
#include "model/options.h"
#include "model/weights.h"
#include "tensor/arena.h"
#include "tensor/replay.h"

namespace primus::model {

/// A decoder-only language model with explicit forward and backward passes. The constructor takes all its memory from
/// the arena and touches none of it, so that it also runs over a measuring arena.
class Decoder {
 public:
  Decoder(const ModelConfig& config, const DecoderOptions& options, Arena& arena);
  Decoder(const Decoder&) = delete;  // layers point into it
  Decoder& operator=(const Decoder&) = delete;

  /// Clears what loading does not write, uploads the rope tables and takes the host memory. Once, before weights are
  /// loaded.
  void initialize(Stream& stream);

  const ModelConfig& config() const { return config_; }
  const DecoderOptions& options() const { return options_; }
  ParameterRegistry& parameters() { return weights_.registry; }
  const ParameterRegistry& parameters() const { return weights_.registry; }
  const FlatBuffers& flat() const { return weights_.flat; }
  /// Pinned host memory that initialize() takes.
  std::size_t host_bytes() const { return offloaded_.host_bytes(); }

  /// One micro-batch of training: state.loss_sum += Σ losses; gradients += ∂(Σ losses · scale · loss_scale).
  void forward_backward(const Pass& pass, const Batch& micro_batch, float scale, const Tensor& state);

  /// state.loss_sum += Σ losses of the micro-batch's trained tokens.
  void evaluate(const Pass& pass, const Batch& batch, const Tensor& state);

  /// Logits (n, vocab) f32 after the tokens `rows` (n) i32; n at most max_logit_rows(). Valid until the next pass.
  Tensor logits(const Pass& pass, const Batch& batch, const Tensor& rows, const Attend& attend);
  /// Forms of the layers' passes that are recorded now (tensor/replay.h).
  std::size_t recordings() const { return replay_.recordings(); }
  std::int64_t max_logit_rows() const { return head_.chunk_rows(); }

 private:
  /// The loss head. The MLP's activation, with the gate_up that layers share, and what attention's backward pass works
  /// with lie in its memory: the three take turns.
  LossHead take_head(Arena& arena);
  /// Whether layers whose gate_up is not kept have one for all: spans of several layers have more.
  bool shares_one_gate_up() const;
  void allocate_attention_backward(Arena& arena);
  void allocate_dropped(Arena& arena);
  void allocate_activations(Arena& arena);
  /// (T, columns) of the compute type.
  Tensor activations_matrix(Arena& arena, const std::string& name, std::int64_t columns) const;

  Batch in_few_forms(const Batch& batch) const;
  /// body() over the micro-batch, recorded where that pays.
  enum Section : std::int64_t { kForward, kBackward };
  void run_section(Section section, const Pass& pass, const Batch& batch, const std::function<void()>& body);

  /// `offloaded`: what waits for backward in host memory; nullptr when no backward follows.
  void forward_layers(const Pass& pass, const Batch& batch, const Attend& attend, OffloadedActivations* offloaded);
  void backward_layers(const Pass& pass, const Batch& batch, const Attend& attend);
  void recompute(const Pass& pass, const Batch& batch, const Attend& attend, const RecomputeSpan& span);
  /// The last layer's gate_up where it shares one: the loss head has been in its first rows since forward.
  void restore_last_gate_up(const Pass& pass, const Batch& batch);
  LayerActivations activations_of(std::int64_t layer, const Batch& batch) const {
    return activations_[static_cast<std::size_t>(layer)].first(config_, batch.tokens());
  }
  /// Where the layer's output goes: the next one's x, or output_.
  Tensor output_of(std::int64_t layer, const Batch& batch) const;

  ModelConfig config_;
  DecoderOptions options_;
  Weights weights_;
  std::vector<Layer> layers_;
  std::vector<LayerActivations> activations_;
  OffloadedActivations offloaded_;
  BackwardBuffers backward_;
  Tensor activation_;  // (T, intermediate + R): the input of every down projection
  Tensor gate_up_;     // (T, 2·intermediate): that of all layers that share one
  Tensor output_;      // (T, hidden): the residual stream after the last layer; its gradient takes its place
  Rope rope_;
  std::int64_t gate_up_rows_of_head_ = 0;  // the loss head's memory reaches into so many rows of gate_up_
  LossHead head_;
  Replay replay_;
};

}  // namespace primus::model
