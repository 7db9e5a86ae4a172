#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/linear.h"
#include "model/options.h"
#include "model/parameter.h"
#include "tensor/arena.h"

namespace primus::model {

struct LayerWeights {
  Tensor input_norm;        // (hidden)
  Tensor d_input_norm;      // (hidden), or empty
  Linear qkv;               // hidden -> q, k, v
  Tensor q_norm, d_q_norm;  // (head_dim), or empty: no QK norm; gradient empty when frozen
  Tensor k_norm, d_k_norm;  // (head_dim)
  Linear o_proj;            // q -> hidden
  Tensor post_norm;         // (hidden), post_attention_layernorm
  Tensor d_post_norm;       // (hidden), or empty
  Linear gate_up;           // hidden -> gate, up
  Linear down;              // intermediate -> hidden
};

/// Neighbours in the flat buffers that the optimizer treats alike.
struct FlatSegment {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool decays = true;          // matrices do, vectors do not
  bool writes_weights = true;  // the optimizer writes the compute copy; LoRA's B is published scaled instead
};

/// Flat buffers over all trainable parameters, in one order; the sharded optimizer is a slice of them. Parameters start
/// at multiples of 128 elements; what lies between is zero and stays zero.
struct FlatBuffers {
  std::int64_t size = 0;
  Tensor weights;  // compute type; empty when the master weights themselves are computed with
  Tensor master;
  Tensor gradients;  // empty when not training, as the next two
  Tensor exp_avg;
  Tensor exp_avg_sq;
  std::vector<FlatSegment> segments;
};

/// All parameters of a decoder: their memory, their names and what the layers see of them.
struct Weights {
  Weights(const ModelConfig& config, const DecoderOptions& options, Arena& arena);

  /// Clears the flat buffers and the adapters' columns: what loading and updates do not write must be zero. Once,
  /// before the first use of real memory.
  void clear(Stream& stream);

  /// Clears the gradients that backward only ever adds to: vectors, and an embedding that is not the head as well. All
  /// others are overwritten by the first micro-batch of a step.
  void clear_added_gradients(Stream& stream);

  ParameterRegistry registry;
  FlatBuffers flat;

  Tensor embedding;    // (vocab, hidden)
  Tensor d_embedding;  // (vocab, hidden), or empty
  std::vector<LayerWeights> layers;
  Tensor final_norm;    // (hidden)
  Tensor d_final_norm;  // (hidden), or empty
  Tensor head;          // (vocab, hidden): lm_head, or the embedding when tied
  Tensor d_head;        // (vocab, hidden), or empty

  std::vector<Tensor> cleared;  // fused weights with adapter columns
};

/// LoRA's A as PEFT: uniform in ±1/√in, drawn from the seed and the parameter's place; B zero.
void initialize_adapters(Stream& stream, ParameterRegistry& registry, std::uint64_t seed);

/// Random weights for runs without files: matrices normal(0, 0.02), norms one, biases zero.
void initialize_random(Stream& stream, ParameterRegistry& registry, std::uint64_t seed);

/// LoRA's B from its master into the scaled copy beside the base weight, for every adapter; called after every update.
void publish_adapters(Stream& stream, const ParameterRegistry& registry);

}  // namespace primus::model
