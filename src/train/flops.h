#pragma once

#include <cstdint>

#include "data/batch.h"
#include "model/config.h"

namespace primus::train {

/// What the mathematics of training needs, however it is computed: recomputing does not count.
struct Work {
  std::int64_t tokens = 0;          // of documents
  std::int64_t trained_tokens = 0;  // rows that pass the LM head
  double squared_lengths = 0.0;     // Σ over documents of tokens²

  Work& operator+=(const Work& other) {
    tokens += other.tokens;
    trained_tokens += other.trained_tokens;
    squared_lengths += other.squared_lengths;
    return *this;
  }
};

Work work_of(const data::MicroBatch& batch);

/// Floating-point operations of the matrix products: 2·P a token forward, 2·P for input gradients, 2·P for weight
/// gradients where the base weights train. Adapters are left out (under 1 %).
double matrix_flops(const model::ModelConfig& config, const Work& work, bool trains_base);

/// Causal attention: 2·s·heads·head_dim a token and layer forward.
double attention_forward_flops(const model::ModelConfig& config, const Work& work);
/// 2.5 times as many backward.
double attention_backward_flops(const model::ModelConfig& config, const Work& work);

double model_flops(const model::ModelConfig& config, const Work& work, bool trains_base);

}  // namespace primus::train
