#include "train/setup.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/batch.h"
#include "ops/cpu_backend.h"
#include "tensor/backend.h"

namespace primus::train {
namespace {

namespace fs = std::filesystem;

bool has_device(DeviceType type) {
  try {
    return backend(type).device_count() > 0;
  } catch (const Error& error) {
    log::debug("no {} device: {}", name_of(type), error.what());
    return false;
  }
}

Device require_device(DeviceType type) {
  if (backend(type).device_count() == 0) throw host_lacks("device: {}: this host has no such device", name_of(type));
  return {type, 0};
}

DType dtype_of(config::StateDType dtype) { return dtype == config::StateDType::kBf16 ? DType::kBF16 : DType::kF32; }

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The hub cache of the huggingface_hub library: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
fs::path hub_cache() {
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return fs::path(cache) / "huggingface/hub";
  return fs::path(environment("HOME")) / ".cache/huggingface/hub";
}

/// "org/name": one slash, and no more than a name's characters around it
bool looks_like_hub_id(const std::string& text) {
  const auto is_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  const auto slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size() || text[0] == '.') return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return is_name(c) || c == '/'; }) &&
         text.find('/', slash + 1) == std::string::npos;
}

}  // namespace

Device choose_device(config::DeviceChoice choice) {
  switch (choice) {
    case config::DeviceChoice::kCpu:
      return {DeviceType::kCpu, 0};
    case config::DeviceChoice::kCuda:
      return require_device(DeviceType::kCuda);
    case config::DeviceChoice::kHip:
      return require_device(DeviceType::kHip);
    case config::DeviceChoice::kAuto:
      break;
  }
  for (const DeviceType type : {DeviceType::kCuda, DeviceType::kHip}) {
    if (has_device(type)) return {type, 0};
  }
  return {DeviceType::kCpu, 0};
}

DType choose_compute_dtype(config::Precision precision, Device device) {
  if (precision == config::Precision::kFp32) return DType::kF32;
  if (precision == config::Precision::kFp16Mixed) return DType::kF16;
  if (device.type == DeviceType::kCpu && !ops::cpu::has_native_bf16()) {
    static bool said = false;
    if (!said) log::info("precision_config bf16_mixed: this CPU has no bf16 arithmetic, computing in f32");
    said = true;
    return DType::kF32;
  }
  return DType::kBF16;
}

fs::path resolve_checkpoint(const std::string& hf_path) {
  if (hf_path.empty()) {
    throw bad_input("hf_path is not set: name a checkpoint's folder or a hub id, in the YAML file or with --hf_path");
  }
  if (fs::is_directory(hf_path)) return hf_path;
  if (!looks_like_hub_id(hf_path)) {
    throw bad_input("hf_path: {}: no such folder. Name a folder with config.json and model.safetensors, or a hub id",
                    hf_path);
  }
  std::string folder_name = "models--" + hf_path;
  folder_name.replace(folder_name.find('/'), 1, "--");
  const fs::path repository = hub_cache() / folder_name;
  const fs::path reference = repository / "refs/main";
  if (fs::is_regular_file(reference)) {
    std::string commit = read_text(reference);
    commit.erase(commit.find_last_not_of(" \n\r\t") + 1);
    const fs::path snapshot = repository / "snapshots" / commit;
    if (fs::is_regular_file(snapshot / "config.json")) return snapshot;
  }
  throw bad_input(
      "hf_path: {} is neither a folder nor in the Hugging Face cache ({}). Download it there "
      "(`hf download {}`) or name a folder that holds it",
      hf_path, repository.string(), hf_path);
}

model::RecomputePolicy recompute_policy(const config::RunConfig& config, std::int64_t layers) {
  model::RecomputePolicy policy;
  const std::int64_t count = config.recompute_num_layers;
  switch (config.recompute_granularity) {
    case config::RecomputeGranularity::kNone:
      break;
    case config::RecomputeGranularity::kFull:
      if (config.recompute_method == config::RecomputeMethod::kUniform) {
        for (std::int64_t begin = 0; begin < layers; begin += count) {
          policy.spans.push_back({begin, std::min(begin + count, layers)});
        }
      } else {
        for (std::int64_t layer = 0; layer < std::min(count, layers); ++layer)
          policy.spans.push_back({layer, layer + 1});
      }
      break;
    case config::RecomputeGranularity::kSelective: {
      std::vector<std::string> modules = config.recompute_modules;
      if (modules.empty()) modules = {"core_attn"};
      for (const std::string& module : modules) {
        if (module == "core_attn") {
          policy.keeps.attention = false;
        } else if (module == "layernorm") {
          policy.keeps.norms = false;
        } else if (module == "mlp_act") {
          policy.keeps.activation = false;
        } else if (module == "mlp") {
          policy.keeps.gate_up = false;
          policy.keeps.activation = false;
        } else {
          throw bad_input("recompute_modules: '{}' is not one of core_attn, layernorm, mlp_act, mlp", module);
        }
      }
      break;
    }
  }
  return policy;
}

std::int64_t max_tokens(const config::RunConfig& config) {
  const std::int64_t tokens = std::int64_t{config.micro_batch_size} * config.seq_length;
  return (tokens + data::kTokenMultiple - 1) / data::kTokenMultiple * data::kTokenMultiple;
}

std::vector<std::string> target_modules(const config::RunConfig& config) {
  if (!config.peft_target_modules.empty()) return config.peft_target_modules;
  return {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
}

model::DecoderOptions training_options(const config::RunConfig& config, const model::ModelConfig& model,
                                       Device device) {
  model::DecoderOptions options;
  options.compute_dtype = choose_compute_dtype(config.precision_config, device);
  options.train = true;
  options.train_base = config.peft == config::Peft::kNone;
  if (config.peft == config::Peft::kLora) {
    options.lora = model::LoraOptions{.rank = config.peft_dim,
                                      .alpha = config.peft_alpha,
                                      .dropout = config.peft_dropout,
                                      .target_modules = target_modules(config)};
  }
  options.master_dtype = dtype_of(config.main_params_dtype);
  options.gradient_dtype = dtype_of(config.main_grads_dtype);
  options.exp_avg_dtype = dtype_of(config.exp_avg_dtype);
  options.exp_avg_sq_dtype = dtype_of(config.exp_avg_sq_dtype);
  options.max_tokens = max_tokens(config);
  options.max_positions = std::max<std::int64_t>(config.seq_length, data::kTokenMultiple);
  options.recompute = recompute_policy(config, model.num_hidden_layers);
  options.seed = config.seed;
  return options;
}

}  // namespace primus::train
