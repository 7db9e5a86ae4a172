#include "config/validate.h"

#include <numeric>

#include "base/error.h"

namespace primus::config {

std::string where_set(const Resolved& resolved, std::initializer_list<std::string_view> keys) {
  const Provenance* best = nullptr;
  for (const std::string_view key : keys) {
    const Provenance& source = resolved.source_of(key);
    if (!source.where.empty() && (best == nullptr || source.layer > best->layer)) best = &source;
  }
  return best == nullptr ? std::string() : best->where + ": ";
}

namespace {

bool is_set(const Resolved& resolved, std::string_view key) {
  const Provenance& source = resolved.source_of(key);
  return source.layer != Layer::kDefault && !source.null;
}

void check_method(const Resolved& resolved) {
  const RunConfig& config = resolved.config;
  if (config.peft == Peft::kNone && !config.peft_adapter.empty()) {
    throw bad_input("{}peft_adapter needs peft: lora, but peft is none", where_set(resolved, {"peft_adapter", "peft"}));
  }
  if (config.min_lr > config.finetune_lr) {
    throw bad_input("{}min_lr ({}) is above finetune_lr ({})", where_set(resolved, {"min_lr", "finetune_lr"}),
                    config.min_lr, config.finetune_lr);
  }
  if (config.most_recent_k == 0) {
    throw bad_input("{}most_recent_k is 0, which would keep no checkpoint; give -1 for all or at least 1",
                    where_set(resolved, {"most_recent_k"}));
  }
}

void check_parallelism(const Resolved& resolved) {
  const RunConfig& config = resolved.config;
  if (config.sequence_parallel && config.tensor_model_parallel_size == 1) {
    throw bad_input("{}sequence_parallel needs tensor_model_parallel_size above 1; set it to false",
                    where_set(resolved, {"sequence_parallel", "tensor_model_parallel_size"}));
  }
  if (config.virtual_pipeline_model_parallel_size && config.pipeline_model_parallel_size == 1) {
    throw bad_input("{}virtual_pipeline_model_parallel_size needs pipeline_model_parallel_size above 1",
                    where_set(resolved, {"virtual_pipeline_model_parallel_size", "pipeline_model_parallel_size"}));
  }
  if (config.context_parallel_size > 1 && config.seq_length % (2 * config.context_parallel_size) != 0) {
    throw bad_input("{}seq_length ({}) is not divisible by 2 × context_parallel_size ({})",
                    where_set(resolved, {"seq_length", "context_parallel_size"}), config.seq_length,
                    config.context_parallel_size);
  }
}

void check_recompute(const Resolved& resolved) {
  const RunConfig& config = resolved.config;
  if (is_set(resolved, "recompute_method") && (config.recompute_granularity == RecomputeGranularity::kNone ||
                                               config.recompute_granularity == RecomputeGranularity::kAuto)) {
    throw bad_input("{}recompute_method has no effect without recompute_granularity (full or selective)",
                    where_set(resolved, {"recompute_method"}));
  }
  if (!config.recompute_modules.empty() && config.recompute_granularity != RecomputeGranularity::kSelective) {
    throw bad_input("{}recompute_modules needs recompute_granularity: selective",
                    where_set(resolved, {"recompute_modules", "recompute_granularity"}));
  }
  if (config.recompute_num_layers == 0 && config.recompute_granularity == RecomputeGranularity::kFull &&
      config.recompute_method == RecomputeMethod::kUniform) {
    throw bad_input("{}recompute_num_layers is 0; recompute_method uniform needs at least 1",
                    where_set(resolved, {"recompute_num_layers", "recompute_method"}));
  }
}

void check_dataset(const Resolved& resolved) {
  const DatasetConfig& dataset = resolved.config.dataset;
  if (!dataset.weights.empty() && dataset.weights.size() != dataset.path.size()) {
    throw bad_input("{}dataset.weights has {} numbers and dataset.path {} entries; give one weight a path",
                    where_set(resolved, {"dataset.weights", "dataset.path"}), dataset.weights.size(),
                    dataset.path.size());
  }
  if (!dataset.weights.empty() && std::accumulate(dataset.weights.begin(), dataset.weights.end(), 0.0) <= 0.0) {
    throw bad_input("{}dataset.weights are all 0", where_set(resolved, {"dataset.weights"}));
  }
  if (!dataset.validation_path.empty() && dataset.validation_fraction > 0.0) {
    throw bad_input("{}dataset.validation_path and dataset.validation_fraction are both given; keep one",
                    where_set(resolved, {"dataset.validation_fraction", "dataset.validation_path"}));
  }
}

void check_batch(const Resolved& resolved, int data_parallel_size) {
  const RunConfig& config = resolved.config;
  const std::int64_t together = std::int64_t{config.micro_batch_size} * data_parallel_size;
  if (config.global_batch_size % together != 0) {
    throw bad_input("{}global_batch_size ({}) is not divisible by micro_batch_size × data-parallel size ({} × {} = {})",
                    where_set(resolved, {"global_batch_size", "micro_batch_size"}), config.global_batch_size,
                    config.micro_batch_size, data_parallel_size, together);
  }
}

}  // namespace

void check_settings(const Resolved& resolved) {
  check_method(resolved);
  check_parallelism(resolved);
  check_recompute(resolved);
  check_dataset(resolved);
  check_batch(resolved, 1);
}

void check_layout(const Resolved& resolved, int world_size) {
  const RunConfig& config = resolved.config;
  const std::int64_t model_parallel = std::int64_t{config.tensor_model_parallel_size} *
                                      config.pipeline_model_parallel_size * config.context_parallel_size;
  if (world_size < 1 || world_size % model_parallel != 0) {
    throw bad_input(
        "{}{} processes cannot be divided into groups of tensor × pipeline × context parallel size ({} × {} × {} = {})",
        where_set(resolved, {"tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"}),
        world_size, config.tensor_model_parallel_size, config.pipeline_model_parallel_size,
        config.context_parallel_size, model_parallel);
  }
  check_batch(resolved, static_cast<int>(world_size / model_parallel));
}

void check_single_process(const Resolved& resolved) {
  const RunConfig& config = resolved.config;
  const std::pair<std::string_view, int> sizes[] = {
      {"tensor_model_parallel_size", config.tensor_model_parallel_size},
      {"pipeline_model_parallel_size", config.pipeline_model_parallel_size},
      {"context_parallel_size", config.context_parallel_size},
  };
  for (const auto& [key, size] : sizes) {
    if (size > 1) {
      throw bad_input("{}{} is {}, and this release trains in one process; run with --{} 1", where_set(resolved, {key}),
                      key, size, key);
    }
  }
}

void check_model(const Resolved& resolved, const ModelShape& model) {
  const RunConfig& config = resolved.config;
  const int tp = config.tensor_model_parallel_size;
  const std::pair<std::string_view, int> shared[] = {
      {"attention heads", model.num_attention_heads},
      {"key-value heads", model.num_key_value_heads},
      {"intermediate size", model.intermediate_size},
  };
  for (const auto& [what, size] : shared) {
    if (size % tp != 0) {
      throw bad_input("{}the model's {} ({}) cannot be divided by tensor_model_parallel_size ({})",
                      where_set(resolved, {"tensor_model_parallel_size"}), what, size, tp);
    }
  }
  const int chunks = config.pipeline_model_parallel_size * config.virtual_pipeline_model_parallel_size.value_or(1);
  if (model.num_hidden_layers % chunks != 0) {
    throw bad_input("{}the model's layers ({}) cannot be divided by the pipeline's stages and chunks ({})",
                    where_set(resolved, {"virtual_pipeline_model_parallel_size", "pipeline_model_parallel_size"}),
                    model.num_hidden_layers, chunks);
  }
  if (config.seq_length > model.max_position_embeddings) {
    throw bad_input("{}seq_length ({}) is longer than the model's positions ({})", where_set(resolved, {"seq_length"}),
                    config.seq_length, model.max_position_embeddings);
  }
}

void require_dataset(const Resolved& resolved) {
  if (resolved.config.dataset.path.empty()) {
    throw bad_input("{}dataset.path is not given; name the training data with --dataset.path FILE or in overrides",
                    where_set(resolved, {"dataset.path"}));
  }
}

}  // namespace primus::config
