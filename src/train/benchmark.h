#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "config/run_config.h"
#include "data/token_set.h"
#include "model/config.h"
#include "train/memory_plan.h"

namespace primus::train {

struct BenchmarkSettings {
  int warmup = 2;
  int steps = 5;
  data::TokenSet rows;          // what the steps train; empty: random tokens
  std::filesystem::path trace;  // Chrome trace of one more step; empty: none
};

/// Times and rates are medians over the timed steps.
struct BenchmarkResult {
  double tokens = 0.0;          // of a step, filler left out; the mean where steps differ
  double trained_tokens = 0.0;  // likewise
  double packing = 0.0;         // tokens by the tokens that the rows or packs of all data could hold
  double step_seconds = 0.0;
  double fastest_seconds = 0.0;
  double tokens_per_second = 0.0;
  double model_tflops = 0.0;    // 1e12 operations a second that the mathematics needs
  double ceiling_tflops = 0.0;  // of a large matrix product in the same type on this device, measured now
  double fraction_of_ceiling = 0.0;
  /// The time that the step would take if matrix products and attention ran at the best rates of this device and all
  /// else took none, by the time it took.
  double fraction_of_floor = 0.0;
  MemoryPlan plan;
  std::size_t taken_bytes = 0;  // what the run took from the device: the plan, and code of libraries loaded meanwhile
  double loss = 0.0;
  /// Seconds of one watched step by kind of work, and the whole step.
  double gemm_seconds = 0.0, attention_seconds = 0.0, elementwise_seconds = 0.0, optimizer_seconds = 0.0;
  double watched_seconds = 0.0;
};

/// Optimizer steps of one micro-batch each, with random weights: forward, backward, clipping, AdamW. A micro-batch is
/// micro_batch_size of settings.rows, or packs of them with packed_sequence, as training lays them out; without rows it
/// is micro_batch_size documents of seq_length random tokens, all of them trained.
BenchmarkResult benchmark_train(const config::RunConfig& config, const model::ModelConfig& model, Device device,
                                const BenchmarkSettings& settings);

}  // namespace primus::train
