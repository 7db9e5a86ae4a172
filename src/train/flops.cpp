#include "train/flops.h"

#include <algorithm>

namespace primus::train {

Work work_of(const data::MicroBatch& batch) {
  Work work{.tokens = batch.real_tokens, .trained_tokens = static_cast<std::int64_t>(batch.trained_rows.size())};
  for (std::size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const auto end = std::min<std::int64_t>(batch.cu_seqlens[i + 1], batch.real_tokens);  // without filler
    const auto length = static_cast<double>(end - batch.cu_seqlens[i]);
    work.squared_lengths += length * length;
  }
  return work;
}

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
