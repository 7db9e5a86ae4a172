#include "checkpoint/peft.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/adapter_file.h"
#include "checkpoint/transfer.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<const char*, 7> kProjections{"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                  "gate_proj", "up_proj", "down_proj"};

/// Every field that PEFT 0.21 writes, so that a reader finds what it looks for.
json adapter_config(const LoraInfo& info) {
  json config = {
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"lora_bias", false},
      {"lora_dropout", info.dropout},
      {"megatron_core", "megatron.core"},
      {"peft_type", "LORA"},
      {"peft_version", "0.21.0"},
      {"qalora_group_size", 16},
      {"r", info.rank},
      {"target_modules", info.target_modules},
      {"task_type", "CAUSAL_LM"},
      {"ensure_weight_tying", false},
      {"use_dora", false},
      {"use_qalora", false},
      {"use_rslora", false},
      {"alpha_pattern", json::object()},
      {"rank_pattern", json::object()},
      {"loftq_config", json::object()},
  };
  for (const char* absent :
       {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config", "exclude_modules",
        "kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config",
        "megatron_config", "modules_to_save", "monteclora_config", "revision", "target_parameters",
        "trainable_token_indices", "use_bdlora", "velora_config"}) {
    config[absent] = nullptr;
  }
  constexpr double kExactIntegers = 1e15;
  if (info.alpha == std::floor(info.alpha) && std::fabs(info.alpha) < kExactIntegers) {
    config["lora_alpha"] = static_cast<std::int64_t>(info.alpha);
  } else {
    config["lora_alpha"] = info.alpha;
  }
  config["base_model_name_or_path"] = info.base_model_name.empty() ? json(nullptr) : json(info.base_model_name);
  return config;
}

}  // namespace

void save_adapter(const fs::path& folder, const model::ParameterRegistry& registry, const LoraInfo& info,
                  Stream& stream) {
  std::vector<TensorSpec> tensors;
  for (const model::Parameter& parameter : registry.all()) {
    if (is_adapter(parameter)) tensors.emplace_back(kPeftPrefix + parameter.name, DType::kF32, file_shape(parameter));
  }
  PRIMUS_CHECK(!tensors.empty(), folder.string());
  Transfer transfer(stream);
  replace_directory(folder, [&](const fs::path& fresh) {
    write_text(fresh / "adapter_config.json", adapter_config(info).dump(2, ' ', false, json::error_handler_t::replace));
    SafetensorsWriter writer(fresh / "adapter_model.safetensors", tensors);
    for (const TensorSpec& tensor : writer.tensors()) {
      const std::string name = tensor.name.substr(std::string_view(kPeftPrefix).size());
      transfer.read(registry.find(name)->values(), DType::kF32,
                    [&](std::span<const std::byte> bytes) { writer.write(bytes); });
    }
    writer.finish();
  });
}

std::uint64_t adapter_bytes(const model::ParameterRegistry& registry) {
  std::uint64_t bytes = 0;
  for (const model::Parameter& parameter : registry.all()) {
    if (is_adapter(parameter)) bytes += static_cast<std::uint64_t>(parameter.numel()) * size_of(DType::kF32);
  }
  return bytes;
}

LoraInfo read_adapter_info(const fs::path& folder) {
  const AdapterFile adapter(folder);
  LoraInfo info = adapter.info();
  info.target_modules.clear();
  std::string supported;
  for (const char* projection : kProjections) {
    supported += (supported.empty() ? "" : ", ") + std::string(projection);
    const auto& found = adapter.info().target_modules;
    if (std::find(found.begin(), found.end(), projection) != found.end()) info.target_modules.emplace_back(projection);
  }
  for (const std::string& target : adapter.info().target_modules) {
    if (std::find(kProjections.begin(), kProjections.end(), target) == kProjections.end()) {
      throw bad_input("{}: adapts {}; supported are {}", adapter.path(), target, supported);
    }
  }
  return info;
}

void load_adapter(const fs::path& folder, model::ParameterRegistry& registry, Stream& stream) {
  const AdapterFile adapter(folder);
  std::size_t expected = 0;
  for (const model::Parameter& parameter : registry.all()) {
    if (!is_adapter(parameter)) continue;
    ++expected;
    const StoredTensor* tensor = adapter.find(parameter.name);
    if (tensor == nullptr) {
      throw bad_input("{}: {}{} is missing; the adapter does not cover every module that this run adapts",
                      adapter.path(), kPeftPrefix, parameter.name);
    }
    const std::vector<std::int64_t> shape = file_shape(parameter);
    if (tensor->shape != shape) {
      throw bad_input("{}: {}: shape {} where the model asks for {}", adapter.path(), tensor->name,
                      shape_text(tensor->shape), shape_text(shape));
    }
  }
  if (expected != 2 * adapter.modules().size()) {
    for (const auto& [module, pair] : adapter.modules()) {
      if (registry.find(module + ".lora_A.weight") != nullptr) continue;
      throw bad_input("{}: {} has no place in this run: the module is not in the model or not adapted here",
                      adapter.path(), pair.a->name);
    }
  }
  Transfer transfer(stream);
  for (model::Parameter& parameter : registry.all()) {
    if (!is_adapter(parameter)) continue;
    const StoredTensor* tensor = adapter.find(parameter.name);
    set_values(transfer, parameter, tensor->data, tensor->float_dtype(), adapter.path());
  }
  stream.synchronize();
}

}  // namespace primus::checkpoint
