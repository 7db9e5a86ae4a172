#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace primus::model {

/// Low-rank adapters (Hu et al. 2021): y = W·x + (alpha/rank)·B·A·x on the named projections.
struct LoraOptions {
  int rank = 32;
  double alpha = 32.0;
  double dropout = 0.0;                     // on the adapter's input, as PEFT
  std::vector<std::string> target_modules;  // of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj

  double scale() const { return alpha / rank; }
};

/// What a layer keeps of its forward pass for its backward pass, besides its input and what is narrow. What is not kept
/// is computed again, from what is. silu(gate)·up is never kept: backward has it at hand.
struct LayerKeeps {
  bool norms = true;      // the normed inputs of attention and MLP: else two norms
  bool qkv = true;        // queries, keys and values: else one GEMM and what `rotated` says
  bool rotated = true;    // queries and keys, normed and rotated (where QK norms leave them beside qkv): else one pass
  bool attention = true;  // the attention output and its statistics: else one attention forward
  bool gate_up = true;    // the gate and up projections: else one GEMM

  bool operator==(const LayerKeeps&) const = default;
};

/// Layers [begin, end) of which only the input of the first one is kept, and what is narrow: backward runs them forward
/// again.
struct RecomputeSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// The recompute policy of a run: spans are disjoint and ascending.
struct RecomputePolicy {
  std::vector<RecomputeSpan> spans;
  LayerKeeps keeps;                      // what layers outside spans keep,
  std::vector<LayerKeeps> first_layers;  // but for the first ones

  /// The span that holds the layer, or nullptr.
  const RecomputeSpan* span_of(std::int64_t layer) const {
    for (const RecomputeSpan& span : spans) {
      if (span.begin <= layer && layer < span.end) return &span;
    }
    return nullptr;
  }
  /// Layers are computed again one by one: none waits for another's backward pass.
  bool is_by_layer() const {
    return std::all_of(spans.begin(), spans.end(),
                       [](const RecomputeSpan& span) { return span.end - span.begin == 1; });
  }
  const LayerKeeps& keeps_of(std::int64_t layer) const {
    const auto index = static_cast<std::size_t>(layer);
    return index < first_layers.size() ? first_layers[index] : keeps;
  }
};

struct DecoderOptions {
  DType compute_dtype = DType::kF32;

  /// Gradients, optimizer states and saved activations exist. Without it the model only evaluates and generates.
  bool train = true;
  /// Every parameter of the checkpoint is trainable (SFT): it has a master in the flat buffers. Else they are frozen.
  bool train_base = true;
  std::optional<LoraOptions> lora;

  DType master_dtype = DType::kF32;
  DType gradient_dtype = DType::kF32;
  DType exp_avg_dtype = DType::kF32;
  DType exp_avg_sq_dtype = DType::kF32;

  std::int64_t max_tokens = 0;     // tokens of a micro-batch, filler included
  std::int64_t max_positions = 0;  // longest document
  RecomputePolicy recompute;
  /// Between forward and backward, the inputs that layers keep and attention's outputs lie in host memory
  /// (model/offload.h).
  bool cpu_offloading = false;
  /// Whether the layer's attention output does: where it would be kept, and where layers are recomputed one by one,
  /// which then leave it out.
  bool offloads_attention(std::int64_t layer) const {
    if (!train || !cpu_offloading) return false;
    return recompute.span_of(layer) == nullptr ? recompute.keeps_of(layer).attention : recompute.is_by_layer();
  }

  /// The loss head works on as many rows at a time as give logits of about this size.
  std::int64_t logits_bytes = std::int64_t{128} << 20;
  bool deterministic = false;  // the same bits in every run, though attention be slower (ops/attention.h)
  std::uint64_t seed = 0;      // adapter initialisation and dropout
};

}  // namespace primus::model
