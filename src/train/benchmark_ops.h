#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "model/config.h"
#include "tensor/device.h"

/// Single operations of a model's step at the shapes and strides that a step gives them, each measured alone.
namespace primus::train {

struct OperationTime {
  std::string name;      // "gate_up", "attention"
  std::string pass;      // "forward", "input gradient", …
  std::string shape;     // "8192 x 24576 x 4096": tokens, columns of the result, depth
  double seconds = 0.0;  // of a call, the median of several samples
  double flops = 0.0;
  double bytes = 0.0;  // every operand once
};

/// The matrix products of one decoder layer and of the LM head over a micro-batch of micro_batch_size · seq_length
/// tokens: with adapters, those inside the base product and their own narrow ones; without, the gradients of the
/// weights too. `seconds` is how long each is repeated.
std::vector<OperationTime> benchmark_products(const config::RunConfig& config, const model::ModelConfig& model,
                                              Device device, double seconds);

/// Attention of one layer over micro_batch_size documents of seq_length tokens, forward and backward.
std::vector<OperationTime> benchmark_attention(const config::RunConfig& config, const model::ModelConfig& model,
                                               Device device, double seconds);

}  // namespace primus::train
