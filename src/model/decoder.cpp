#include "model/decoder.h"

#include <algorithm>
#include <string>

#include "ops/attention.h"
#include "ops/embedding.h"

namespace primus::model {
namespace {

/// Takes a layer's buffers from the arena: its own where they are kept, else those of a set that layers share.
class ActivationAllocator {
 public:
  ActivationAllocator(const ModelConfig& config, const DecoderOptions& options, const LayerWeights& weights,
                      OffloadedActivations& offloaded, Arena& arena)
      : config_(config), options_(options), weights_(weights), offloaded_(offloaded), arena_(arena) {}

  struct Own {
    bool x = true;
    bool rest = true;  // everything that LayerKeeps does not name
    LayerKeeps keeps;
    bool offloads_x = false;
    bool offloads_attention = false;
  };

  LayerActivations allocate(std::int64_t layer, const Own& own, LayerActivations& shared) {
    layer_ = fmt::format("layer {}", layer);
    const std::int64_t hidden = config_.hidden_size;
    LayerActivations result;
    result.x = own.offloads_x ? offloaded_.x.add(layer, [&] { return place("offloaded x", hidden); })
                              : matrix("x", own.x, shared.x, hidden);
    result.normed = matrix("normed", own.rest && own.keeps.norms, shared.normed, weights_.qkv.extended());
    result.rstd = vector("rstd", own.rest && own.keeps.norms, shared.rstd, 1);
    const bool keeps_qkv = own.rest && own.keeps.qkv;
    result.qkv = matrix("qkv", keeps_qkv, shared.qkv, config_.q_size() + 2 * config_.kv_size());
    if (config_.qk_norm) {
      const bool keeps_rotated = keeps_qkv && own.keeps.rotated;
      result.q = matrix("q", keeps_rotated, shared.q, config_.q_size());
      result.k = matrix("k", keeps_rotated, shared.k, config_.kv_size());
      result.qk_rstd = float_matrix("qk rstd", keeps_rotated, shared.qk_rstd,
                                    config_.num_attention_heads + config_.num_key_value_heads);
    } else {
      result.q = result.qkv.columns(0, config_.q_size());
      result.k = result.qkv.columns(config_.q_size(), config_.q_size() + config_.kv_size());
    }
    result.v = result.qkv.columns(config_.q_size() + config_.kv_size(), config_.q_size() + 2 * config_.kv_size());
    if (own.offloads_attention) {
      const std::int64_t columns = weights_.o_proj.extended();
      result.attention = offloaded_.attention.add(layer, [&] { return place("offloaded attention", columns); });
      result.lse = offloaded_.lse.add(layer, [&] {
        return arena_.vector(MemoryKind::kActivations, "offloaded lse", DType::kF32,
                             options_.max_tokens * config_.num_attention_heads);
      });
    } else {
      const bool keeps_attention = own.rest && own.keeps.attention;
      result.attention = matrix("attention", keeps_attention, shared.attention, weights_.o_proj.extended());
      result.lse = vector("lse", keeps_attention, shared.lse, config_.num_attention_heads);
    }
    result.mid = matrix("mid", own.rest, shared.mid, hidden);
    result.mid_normed =
        matrix("mid normed", own.rest && own.keeps.norms, shared.mid_normed, weights_.gate_up.extended());
    result.mid_rstd = vector("mid rstd", own.rest && own.keeps.norms, shared.mid_rstd, 1);
    result.gate_up = matrix("gate_up", own.rest && own.keeps.gate_up, shared.gate_up, 2 * config_.intermediate_size);
    return result;
  }

 private:
  template <typename Make>
  Tensor take(bool own, Tensor& shared, Make make) {
    if (own) return make(layer_);
    if (!shared) shared = make(std::string("shared"));
    return shared;
  }
  Tensor place(const std::string& name, std::int64_t columns) {
    return arena_.matrix(MemoryKind::kActivations, name, options_.compute_dtype, options_.max_tokens, columns);
  }
  Tensor matrix(const char* name, bool own, Tensor& shared, std::int64_t columns) {
    return take(own, shared, [&](const std::string& owner) { return place(owner + " " + name, columns); });
  }
  Tensor float_matrix(const char* name, bool own, Tensor& shared, std::int64_t columns) {
    return take(own, shared, [&](const std::string& owner) {
      return arena_.matrix(MemoryKind::kActivations, owner + " " + name, DType::kF32, options_.max_tokens, columns);
    });
  }
  Tensor vector(const char* name, bool own, Tensor& shared, std::int64_t per_token) {
    return take(own, shared, [&](const std::string& owner) {
      return arena_.vector(MemoryKind::kActivations, owner + " " + name, DType::kF32, options_.max_tokens * per_token);
    });
  }

  const ModelConfig& config_;
  const DecoderOptions& options_;
  const LayerWeights& weights_;
  OffloadedActivations& offloaded_;
  Arena& arena_;
  std::string layer_;
};

/// Several users of the same memory, of which one at a time has something in it.
class Turns {
 public:
  explicit Turns(Arena& arena) : arena_(arena), begin_(arena.mark()), end_(begin_) {}

  /// What is taken from now on lies where everything since the beginning lies.
  void next() {
    end_ = std::max(end_, arena_.mark());
    arena_.rewind(begin_);
  }
  /// What is taken from now on lies behind them all.
  void end() {
    if (arena_.mark() >= end_) return;
    arena_.vector(MemoryKind::kActivations, "buffers inside a layer, beyond the loss head", DType::kU8,
                  static_cast<std::int64_t>(end_ - arena_.mark()));
  }

 private:
  Arena& arena_;
  std::size_t begin_;
  std::size_t end_;
};

/// Rows of a matrix that its first `bytes` reach into, a multiple of 64 as token counts are.
std::int64_t rows_reached(const Tensor& matrix, std::size_t bytes) {
  constexpr std::int64_t kMultiple = 64;
  const auto piece = static_cast<std::size_t>(kMultiple * matrix.row_stride()) * size_of(matrix.dtype());
  return static_cast<std::int64_t>((bytes + piece - 1) / piece) * kMultiple;
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, const DecoderOptions& options, Arena& arena)
    : config_(config),
      options_(options),
      weights_(config_, options_, arena),
      rope_{arena.matrix(MemoryKind::kWeights, "rope cos", DType::kF32, options.max_positions, config.head_dim / 2),
            arena.matrix(MemoryKind::kWeights, "rope sin", DType::kF32, options.max_positions, config.head_dim / 2)},
      head_(take_head(arena)) {
  PRIMUS_CHECK(options.max_tokens > 0 && options.max_positions > 0, options.max_tokens, options.max_positions);
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    layers_.emplace_back(config_, weights_.layers[static_cast<std::size_t>(i)], i);
  }
  allocate_activations(arena);
  output_ = activations_.back().x;  // in inference all layers have this one
  if (!options_.train) return;
  const LayerWeights& layer = weights_.layers.front();
  output_ = backward_.d_x = activations_matrix(arena, "d x", config_.hidden_size);
  backward_.d_normed = activations_matrix(arena, "d normed", std::max(layer.qkv.extended(), layer.gate_up.extended()));
  if (options_.lora && options_.lora->dropout > 0.0) allocate_dropped(arena);
}

Tensor Decoder::activations_matrix(Arena& arena, const std::string& name, std::int64_t columns) const {
  return arena.matrix(MemoryKind::kActivations, name, options_.compute_dtype, options_.max_tokens, columns);
}

void Decoder::allocate_activations(Arena& arena) {
  std::vector<LayerActivations> shared(1);
  shared.front().gate_up = gate_up_;
  for (const RecomputeSpan& span : options_.recompute.spans) {
    shared.resize(std::max(shared.size(), static_cast<std::size_t>(span.end - span.begin)));
  }
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    ActivationAllocator allocator(config_, options_, weights_.layers[static_cast<std::size_t>(i)], offloaded_, arena);
    const RecomputeSpan* span = options_.recompute.span_of(i);
    LayerActivations& common = shared[span == nullptr ? 0 : static_cast<std::size_t>(i - span->begin)];
    const bool keeps_x = options_.train && (span == nullptr || i == span->begin);
    activations_.push_back(allocator.allocate(i,
                                              {.x = keeps_x,
                                               .rest = options_.train && span == nullptr,
                                               .keeps = options_.recompute.keeps_of(i),
                                               .offloads_x = keeps_x && options_.cpu_offloading,
                                               .offloads_attention = options_.offloads_attention(i)},
                                              common));
    activations_.back().activation = activation_;
    const std::int64_t rank = weights_.layers[static_cast<std::size_t>(i)].down.rank;
    if (options_.train && rank > 0) {
      activations_.back().down_u = activations_matrix(arena, fmt::format("layer {} down u", i), rank);
    }
  }
}

bool Decoder::shares_one_gate_up() const {
  if (!options_.train) return true;
  const RecomputePolicy& policy = options_.recompute;
  bool shares = false;
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    shares = shares || policy.span_of(i) != nullptr || !policy.keeps_of(i).gate_up;
  }
  return shares && policy.is_by_layer();
}

LossHead Decoder::take_head(Arena& arena) {
  Turns turns(arena);
  activation_ = activations_matrix(arena, "activation", weights_.layers.front().down.extended());
  const std::size_t gate_up_begin = arena.mark();
  if (shares_one_gate_up()) gate_up_ = activations_matrix(arena, "shared gate_up", 2 * config_.intermediate_size);
  turns.next();
  if (options_.train) allocate_attention_backward(arena);
  turns.next();
  LossHead head(config_, weights_, options_, arena);
  if (gate_up_ && arena.mark() > gate_up_begin) {
    gate_up_rows_of_head_ = rows_reached(gate_up_, arena.mark() - gate_up_begin);
  }
  turns.end();
  return head;
}

void Decoder::allocate_attention_backward(Arena& arena) {
  backward_.d_attention = activations_matrix(arena, "d attention", weights_.layers.front().o_proj.extended());
  backward_.d_qkv = activations_matrix(arena, "d qkv", config_.q_size() + 2 * config_.kv_size());
  backward_.attention = attention_shape(config_);
  backward_.attention.deterministic = options_.deterministic;
  backward_.workspace =
      arena.vector(MemoryKind::kWorkspace, "attention backward", DType::kU8,
                   static_cast<std::int64_t>(ops::attention_backward_workspace(
                       arena.device(), options_.compute_dtype, backward_.attention, options_.max_tokens)));
}

void Decoder::allocate_dropped(Arena& arena) {
  const std::int64_t widest = std::max(config_.intermediate_size, std::max(config_.hidden_size, config_.q_size()));
  const Tensor dropped = activations_matrix(arena, "dropped input", widest);
  for (LayerWeights& weights : weights_.layers) {
    for (Linear* linear : {&weights.qkv, &weights.o_proj, &weights.gate_up, &weights.down}) {
      linear->dropped = dropped.columns(0, linear->in);
    }
  }
}

void Decoder::initialize(Stream& stream) {
  weights_.clear(stream);
  const RopeTable table = make_rope_table(config_, options_.max_positions);
  stream.copy_to_device(rope_.cos, table.cos.data());
  stream.copy_to_device(rope_.sin, table.sin.data());
  offloaded_.allocate(stream.device());
}

Tensor Decoder::output_of(std::int64_t layer, const Batch& batch) const {
  const auto next = static_cast<std::size_t>(layer) + 1;
  return (next < activations_.size() ? activations_[next].x : output_).slice(0, batch.tokens());
}

void Decoder::forward_layers(const Pass& pass, const Batch& batch, const Attend& attend,
                             OffloadedActivations* offloaded) {
  PRIMUS_CHECK(batch.tokens() <= options_.max_tokens, batch.tokens(), options_.max_tokens);
  PRIMUS_CHECK(batch.max_seqlen <= options_.max_positions, batch.max_seqlen, options_.max_positions);
  const Tensor x = activations_.front().x.slice(0, batch.tokens());
  ops::embedding_forward(pass.stream, {.ids = batch.ids, .table = weights_.embedding, .out = x});
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerActivations activations = activations_of(i, batch);
    const Layer& layer = layers_[static_cast<std::size_t>(i)];
    if (offloaded != nullptr) offloaded->make_room(pass.stream, i);
    layer.attention_half(pass, batch, rope_, attend, activations);
    if (offloaded != nullptr) offloaded->send(pass.stream, i, activations);
    layer.mlp_half(pass, activations);
    if (offloaded != nullptr) offloaded->x.make_room(pass.stream, i + 1);
    layer.mlp_output(pass, activations, output_of(i, batch));
  }
}

void Decoder::recompute(const Pass& pass, const Batch& batch, const Attend& attend, const RecomputeSpan& span) {
  const Attend nothing = [](const Pass&, std::int64_t, const LayerActivations&) {};  // attention's output is there
  for (std::int64_t i = span.begin; i < span.end; ++i) {
    const LayerActivations activations = activations_of(i, batch);
    const Layer& layer = layers_[static_cast<std::size_t>(i)];
    layer.attention_half(pass, batch, rope_, offloaded_.attention.has(i) ? nothing : attend, activations);
    if (i + 1 < span.end) {
      layer.mlp_half(pass, activations);
      layer.mlp_output(pass, activations, output_of(i, batch));
    } else {
      layer.restore_gate_up(pass, activations);  // the layer above has used what this one puts out
    }
  }
}

void Decoder::restore_last_gate_up(const Pass& pass, const Batch& batch) {
  constexpr std::int64_t kWhole = 256;  // few rows could go another way through the products, to other bits
  const std::int64_t rows = std::min((gate_up_rows_of_head_ + kWhole - 1) / kWhole * kWhole, batch.tokens());
  if (rows > 0) layers_.back().restore_gate_up(pass, activations_.back().first(config_, rows));
}

void Decoder::backward_layers(const Pass& pass, const Batch& batch, const Attend& attend) {
  const BackwardBuffers buffers = backward_.first(batch.tokens());
  // the last layer's activations are still in the shared buffers: forward has just left them there
  const RecomputeSpan* resident = options_.recompute.span_of(config_.num_hidden_layers - 1);
  for (std::int64_t i = config_.num_hidden_layers - 1; i >= 0; --i) {
    const LayerActivations activations = activations_of(i, batch);
    const Layer& layer = layers_[static_cast<std::size_t>(i)];
    const RecomputeSpan* span = options_.recompute.span_of(i);
    if (span == nullptr) {
      offloaded_.await(pass.stream, i);
      layer.restore(pass, batch, rope_, attend, options_.recompute.keeps_of(i), activations);
    } else if (span == resident) {
      restore_last_gate_up(pass, batch);
    } else if (i + 1 == span->end) {
      offloaded_.await(pass.stream, span->begin);
      recompute(pass, batch, attend, *span);
    }
    layer.backward(pass, batch, rope_, activations, buffers);
    offloaded_.release(pass.stream, i, activations);
  }
}

/// The micro-batch as one of few forms: a bound for its longest document that others have too. Documents of one length
/// keep it, since attention knows them by it.
Batch Decoder::in_few_forms(const Batch& batch) const {
  constexpr std::int64_t kStep = 256;
  Batch rounded = batch;
  const std::int64_t documents = batch.cu_seqlens.columns() - 1;
  if (documents * batch.max_seqlen == batch.tokens()) return rounded;
  rounded.max_seqlen = std::min((batch.max_seqlen + kStep - 1) / kStep * kStep, options_.max_positions);
  return rounded;
}

void Decoder::run_section(Section section, const Pass& pass, const Batch& batch, const std::function<void()>& body) {
  // dropout draws other numbers in every micro-batch, which the host gives to its kernels
  if (options_.lora && options_.lora->dropout > 0.0) return body();
  const std::int64_t documents = batch.cu_seqlens.columns() - 1;
  replay_.run(pass.stream, {section, batch.tokens(), documents, batch.max_seqlen, pass.accumulate}, body);
}

void Decoder::forward_backward(const Pass& pass, const Batch& micro_batch, float scale, const Tensor& state) {
  const Batch batch = in_few_forms(micro_batch);
  const Attend attend = attend_over(config_, batch);
  run_section(kForward, pass, batch, [&] {
    if (!pass.accumulate) weights_.clear_added_gradients(pass.stream);
    forward_layers(pass, batch, attend, &offloaded_);
  });
  // not recorded: the number of trained rows and the scale are others in every micro-batch
  const Tensor x = output_.slice(0, batch.tokens()), d_x = backward_.d_x.slice(0, batch.tokens());
  const Tensor d_rows = backward_.d_normed.columns(0, config_.hidden_size);
  head_.forward_backward(pass, batch, x, scale, state, d_rows, d_x);
  run_section(kBackward, pass, batch, [&] {
    backward_layers(pass, batch, attend);
    if (!weights_.d_embedding) return;
    ops::embedding_backward(pass.stream, {.ids = batch.ids, .d_out = d_x, .d_table = weights_.d_embedding});
  });
}

void Decoder::evaluate(const Pass& pass, const Batch& batch, const Tensor& state) {
  forward_layers(pass, batch, attend_over(config_, batch), nullptr);
  head_.evaluate(pass, batch, output_.slice(0, batch.tokens()), state);
}

Tensor Decoder::logits(const Pass& pass, const Batch& batch, const Tensor& rows, const Attend& attend) {
  forward_layers(pass, batch, attend, nullptr);
  return head_.logits(pass, rows, output_.slice(0, batch.tokens()));
}

}  // namespace primus::model
