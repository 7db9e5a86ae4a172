#pragma once

#include "cli/arguments.h"
#include "config/run_config.h"
#include "model/config.h"
#include "tensor/device.h"

namespace primus::cli {

/// What the benchmarks measure: one micro-batch of a named model.
struct BenchmarkModel {
  config::RunConfig config;
  model::ModelConfig model;
  Device device;
};

/// From --model, a preset's, or the checkpoint that --hf_path names. Throws Error when there is neither.
BenchmarkModel benchmark_model(const Arguments& arguments);

}  // namespace primus::cli
