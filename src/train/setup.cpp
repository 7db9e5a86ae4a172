#include "train/setup.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "data/batch.h"
#include "ops/cpu_backend.h"
#include "tensor/backend.h"
#include "train/fit.h"

namespace primus::train {
namespace {

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

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

DType dtype_of(config::StateDType dtype) { return dtype == config::StateDType::kBf16 ? DType::kBF16 : DType::kF32; }

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

model::RecomputePolicy recompute_policy(const config::RunConfig& config, std::int64_t layers) {
  model::RecomputePolicy policy;
  const std::int64_t count = config.recompute_num_layers;
  switch (config.recompute_granularity) {
    case config::RecomputeGranularity::kNone:
    case config::RecomputeGranularity::kAuto:  // training_options chooses
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
        } else if (module == "mlp") {
          policy.keeps.gate_up = false;
        } else if (module != "mlp_act") {  // which is never kept
          throw bad_input("recompute_modules: '{}' is not one of core_attn, layernorm, mlp_act, mlp", module);
        }
      }
      break;
    }
  }
  return policy;
}

std::int64_t max_tokens(const config::RunConfig& config) {
  return data::with_filler(std::int64_t{config.micro_batch_size} * config.seq_length);
}

std::vector<std::string> target_modules(const config::RunConfig& config) {
  if (!config.peft_target_modules.empty()) return config.peft_target_modules;
  return {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
}

std::int64_t logits_bytes(Device device, bool trains_head) {
  if (device.type == DeviceType::kCpu) return 128 * kMiB;
  return (trains_head ? 1200 : 320) * kMiB;  // 2048 and 512 rows of Qwen3's vocabulary
}

bool can_offload(Device device) {
  if (device.type != DeviceType::kCpu) return true;
  static bool said = false;
  if (!said) log::warning("cpu_offloading has no effect on the CPU: its memory is the host's");
  said = true;
  return false;
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
  options.max_positions = config.seq_length + data::kMostFiller;
  options.recompute = recompute_policy(config, model.num_hidden_layers);
  options.cpu_offloading = config.cpu_offloading && can_offload(device);
  options.logits_bytes = logits_bytes(device, options.train_base);
  if (config.recompute_granularity == config::RecomputeGranularity::kFull) {
    // who recomputes whole layers needs memory more than the last percent of speed
    options.logits_bytes = std::min(options.logits_bytes, 640 * kMiB);
  }
  options.seed = config.seed;
  options.deterministic = config.deterministic;
  if (config.recompute_granularity == config::RecomputeGranularity::kAuto) {
    options.recompute = cheapest_recompute(model, options, device, backend(device.type).memory_free(device.index));
  }
  return options;
}

}  // namespace primus::train
