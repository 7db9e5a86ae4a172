#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "model/parameter.h"
#include "tensor/stream.h"

/// LoRA adapters, as PEFT reads and writes them.
namespace primus::checkpoint {

struct LoraInfo {
  std::int64_t rank = 0;
  double alpha = 0.0;  // the adapter adds alpha / rank · B·A
  double dropout = 0.0;
  std::vector<std::string> target_modules;  // "q_proj", …
  std::string base_model_name;              // what base_model_name_or_path says; empty: null
};

/// Writes adapter_config.json and adapter_model.safetensors (f32) with the registry's adapters, under PEFT's names. The
/// folder appears when it is complete.
void save_adapter(const std::filesystem::path& folder, const model::ParameterRegistry& registry, const LoraInfo& info,
                  Stream& stream);

/// Bytes of the adapters that save_adapter writes. The registry's memory may be a measuring arena's.
std::uint64_t adapter_bytes(const model::ParameterRegistry& registry);

/// What a model needs to be built for the adapter in `folder`. The target modules are those that the adapter has
/// tensors for, so lists, patterns and "all-linear" need no interpretation; rank-stabilized scaling (use_rslora) is
/// turned into the alpha of the same scale. Throws Error for other kinds than LoRA and for what is not supported (DoRA,
/// trained biases, modules_to_save, ranks or alphas by pattern, initialisations that change the base weights), naming
/// the key.
LoraInfo read_adapter_info(const std::filesystem::path& folder);

/// Fills the registry's adapters from `folder` and publishes them. Throws Error naming file and tensor when one is
/// missing, of another shape, or has no place in the model.
void load_adapter(const std::filesystem::path& folder, model::ParameterRegistry& registry, Stream& stream);

/// Writes the model of `model` with the adapter's W + alpha/rank · B·A (in f32, rounded once to W's type) in place of
/// each adapted weight, and all its other tensors and files as they are. Needs memory for some rows only.
void merge_adapter(const std::filesystem::path& model, const std::filesystem::path& adapter,
                   const std::filesystem::path& output, std::uint64_t max_shard_bytes = kDefaultShardBytes);

}  // namespace primus::checkpoint
