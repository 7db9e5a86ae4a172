#include "cli/benchmark_model.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "cli/common.h"
#include "config/validate.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

model::ModelConfig shape_of(const config::RunConfig& config) {
  if (!config.model_config_json.empty()) return model::parse_model_config(config.model_config_json, config.model);
  return model::load_model_config(train::resolve_checkpoint(config.hf_path, train::CheckpointParts::kWithoutWeights));
}

/// A step here is one micro-batch, so a global batch that another number of rows divides is no contradiction.
Arguments with_global_batch(Arguments arguments) {
  auto& overrides = arguments.overrides;
  const auto micro = std::find_if(overrides.rbegin(), overrides.rend(),
                                  [](const config::Override& entry) { return entry.first == "micro_batch_size"; });
  if (micro != overrides.rend()) overrides.emplace_back("global_batch_size", std::string(micro->second));
  return arguments;
}

}  // namespace

BenchmarkModel benchmark_model(const Arguments& arguments) {
  config::Resolved resolved = load_configuration(with_global_batch(arguments));
  config::RunConfig& config = resolved.config;
  config.global_batch_size = config.micro_batch_size;
  config::check_single_process(resolved);
  if (config.model.empty() && config.hf_path.empty()) {
    throw bad_input("benchmark: name a model: --model qwen3_0.6b (a preset of configs/models), or --hf_path FOLDER");
  }
  return {.config = config, .model = shape_of(config), .device = train::choose_device(config.device)};
}

}  // namespace primus::cli
