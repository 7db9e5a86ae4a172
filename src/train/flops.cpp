#include "train/flops.h"

namespace primus::train {

double matrix_flops(const model::ModelConfig& config, const Work& work, bool trains_base) {
  const double head = static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
  const double body = static_cast<double>(config.matrix_parameter_count()) - head;
  const double passes = trains_base ? 6.0 : 4.0;
  return passes * (body * static_cast<double>(work.tokens) + head * static_cast<double>(work.trained_tokens));
}

double attention_forward_flops(const model::ModelConfig& config, const Work& work) {
  return 2.0 * work.squared_lengths * static_cast<double>(config.num_hidden_layers * config.q_size());
}

double attention_backward_flops(const model::ModelConfig& config, const Work& work) {
  return 2.5 * attention_forward_flops(config, work);
}

double model_flops(const model::ModelConfig& config, const Work& work, bool trains_base) {
  return matrix_flops(config, work, trains_base) + attention_forward_flops(config, work) +
         attention_backward_flops(config, work);
}

}  // namespace primus::train
