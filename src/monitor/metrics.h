#pragma once

#include <cstdint>

/// What a run tells about itself, in the words of metrics.jsonl (docs/reference.md, "Outputs").
namespace primus::monitor {

/// One optimizer step.
struct StepMetrics {
  std::int64_t iteration = 0;              // counts from 1 over the whole run, resumed or not
  double loss = 0.0;                       // mean over the global batch's trained tokens, nats
  double grad_norm = 0.0;                  // before clipping
  double learning_rate = 0.0;              // the one that this step used
  std::int64_t tokens = 0;                 // in the global batch
  std::int64_t trained_tokens = 0;         // of them, targets that count in the loss
  double elapsed_ms = 0.0;                 // wall time of the step
  double tokens_per_second_per_gpu = 0.0;  // on CPU: per process
  double model_tflops_per_gpu = 0.0;       // 1e12 operations a second that the model's mathematics needs
  double memory_gib = 0.0;                 // peak on the device, 2^30 bytes
  std::int64_t skipped = 0;                // 1 when the step was not finite and changed no weight
};

/// One pass over the validation set, after iteration `iteration`.
struct ValidationMetrics {
  std::int64_t iteration = 0;
  double validation_loss = 0.0;  // mean over the trained tokens, nats
  std::int64_t validation_tokens = 0;
};

}  // namespace primus::monitor
