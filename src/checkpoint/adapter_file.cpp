#include "checkpoint/adapter_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "model/json_object.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;
using model::JsonObject;

fs::path find_file(const fs::path& folder, const char* name) {
  fs::path path = folder / name;
  if (fs::exists(path)) return path;
  const bool pickled = fs::exists(folder / "adapter_model.bin");
  throw bad_input("{}: no {} there; {}", folder.string(), name,
                  pickled ? "adapter_model.bin is a Python pickle, which is not read: save the adapter as safetensors"
                          : "a PEFT adapter has adapter_config.json and adapter_model.safetensors");
}

bool is_on(const JsonObject& config, const char* key) {
  const nlohmann::json* value = config.find(key);
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  return !((value->is_object() || value->is_array()) && value->empty());
}

void refuse_unsupported(const JsonObject& config) {
  if (config.string("peft_type", "LORA") != "LORA") config.refuse("peft_type", "LORA is supported");
  if (config.string("bias", "none") != "none") config.refuse("bias", "adapters that train no biases are supported");
  struct Unsupported {
    const char* key;
    const char* what_would_do;
  };
  static constexpr Unsupported kUnsupported[] = {
      {"use_dora", "plain LoRA is supported, DoRA is not"},
      {"use_qalora", "plain LoRA is supported, QALoRA is not"},
      {"use_bdlora", "plain LoRA is supported, block-diagonal LoRA is not"},
      {"lora_bias", "adapters without biases are supported"},
      {"modules_to_save", "adapters that replace whole modules are not supported"},
      {"rank_pattern", "one rank for all modules is supported"},
      {"alpha_pattern", "one lora_alpha for all modules is supported"},
      {"layer_replication", "replicated layers are not supported"},
      {"trainable_token_indices", "trained token embeddings are not supported"},
      {"target_parameters", "adapters of linear modules are supported"},
      {"alora_invocation_tokens", "plain LoRA is supported, activated LoRA is not"},
      {"arrow_config", "plain LoRA is supported"},
      {"kasa_config", "plain LoRA is supported"},
      {"velora_config", "plain LoRA is supported"},
      {"monteclora_config", "plain LoRA is supported"},
  };
  for (const auto& [key, what_would_do] : kUnsupported) {
    if (is_on(config, key)) config.refuse(key, what_would_do);
  }
  // PiSSA and its like subtract the first adapter from the base weights; the checkpoint alone would be another model
  const nlohmann::json* start = config.find("init_lora_weights");
  if (start == nullptr || !start->is_string()) return;
  const auto name = start->get<std::string>();
  if (name != "gaussian" && name != "orthogonal" && name != "eva") {
    config.refuse("init_lora_weights", "initialisations that leave the base weights as they are are supported");
  }
}

std::string_view last_part(std::string_view module) { return module.substr(module.rfind('.') + 1); }

void check_pair(const std::string& module, const AdapterPair& pair, std::int64_t rank, const std::string& config) {
  const StoredTensor& there = pair.a != nullptr ? *pair.a : *pair.b;
  if (pair.a == nullptr || pair.b == nullptr) {
    throw bad_input("{}: {}: lora_{}.weight is missing", there.file, module, pair.a == nullptr ? 'A' : 'B');
  }
  const bool shaped =
      pair.a->shape.size() == 2 && pair.b->shape.size() == 2 && pair.a->shape[0] == rank && pair.b->shape[1] == rank;
  if (!shaped) {
    throw bad_input("{}: {}: lora_A {} and lora_B {} where {} gives rank {}", there.file, module,
                    shape_text(pair.a->shape), shape_text(pair.b->shape), config, rank);
  }
  static_cast<void>(pair.a->float_dtype());
  static_cast<void>(pair.b->float_dtype());
}

}  // namespace

AdapterFile::AdapterFile(const fs::path& folder)
    : config_path_(find_file(folder, "adapter_config.json").string()),
      file_(find_file(folder, "adapter_model.safetensors")) {
  read_config();
  collect_modules();
}

void AdapterFile::read_config() {
  constexpr std::int64_t kMaxRank = 1 << 16;
  constexpr double kMaxAlpha = 1e9;
  const nlohmann::json tree = model::parse_json_object(read_text(config_path_), config_path_);
  const JsonObject config(tree, config_path_);
  refuse_unsupported(config);
  info_.rank = config.integer("r", 8, 1, kMaxRank);
  info_.alpha = config.number("lora_alpha", 8.0, 0.0, kMaxAlpha);
  if (config.boolean("use_rslora", false)) info_.alpha *= std::sqrt(static_cast<double>(info_.rank));
  info_.dropout = config.number("lora_dropout", 0.0, 0.0, 1.0);
  info_.base_model_name = config.string("base_model_name_or_path", "");
}

void AdapterFile::collect_modules() {
  for (const StoredTensor& tensor : file_.tensors()) {
    constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight";
    std::string_view name = tensor.name;
    const bool is_a = name.ends_with(kA);
    if (!name.starts_with(kPeftPrefix) || (!is_a && !name.ends_with(kB))) {
      throw bad_input("{}: {} is neither lora_A nor lora_B of a linear module; such adapters are not supported", path(),
                      tensor.name);
    }
    name.remove_prefix(std::string_view(kPeftPrefix).size());
    name.remove_suffix(kA.size());
    AdapterPair& pair = modules_[std::string(name)];
    (is_a ? pair.a : pair.b) = &tensor;
  }
  if (modules_.empty()) throw bad_input("{}: no adapter in it", path());
  for (const auto& [module, pair] : modules_) {
    check_pair(module, pair, info_.rank, config_path_);
    const std::string target(last_part(module));
    if (std::find(info_.target_modules.begin(), info_.target_modules.end(), target) == info_.target_modules.end()) {
      info_.target_modules.push_back(target);
    }
  }
}

}  // namespace primus::checkpoint
