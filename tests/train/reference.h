#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/token_set.h"
#include "model/config.h"
#include "ops/cpu_backend.h"
#include "train/trainer.h"

/// The tiny models of tests/data/reference and the runs that transformers and PEFT made of them (float32).
namespace primus::train::reference {

inline std::filesystem::path folder(const std::string& model) {
  return std::filesystem::path(PRIMUS_TEST_DATA) / "reference" / model;
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

inline data::TokenSet rows(const std::string& model) {
  data::TokenSetBuilder builder;
  builder.begin_source();
  const std::uint32_t file = builder.add_file("data.jsonl");
  std::ifstream lines(folder(model) / "data.jsonl");
  std::uint32_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    ++number;
    builder.add(row.at("input_ids").get<std::vector<std::int32_t>>(), row.at("labels").get<std::vector<std::int32_t>>(),
                {.file = file, .row = number, .line = number});
  }
  return builder.finish();
}

/// The settings of the reference runs.
inline config::RunConfig run_config(const std::string& model, const nlohmann::json& run, bool lora) {
  const auto& hyper = run.at("hyper");
  config::RunConfig config;
  config.hf_path = (folder(model) / "hf").string();
  config.peft = lora ? config::Peft::kLora : config::Peft::kNone;
  if (lora) {
    config.peft_dim = run.at("lora").at("r");
    config.peft_alpha = run.at("lora").at("lora_alpha");
    config.peft_adapter = (folder(model) / "lora_init").string();
  }
  config.precision_config = config::Precision::kFp32;
  config.device = config::DeviceChoice::kCpu;
  config.train_iters = hyper.at("train_iters");
  config.global_batch_size = hyper.at("global_batch_size");
  config.micro_batch_size = 1;
  config.seq_length = 128;
  config.finetune_lr = hyper.at("max_lr");
  config.min_lr = hyper.at("min_lr");
  config.lr_warmup_iters = hyper.at("lr_warmup_iters");
  config.lr_decay_iters = hyper.at("lr_decay_iters");
  config.adam_beta1 = hyper.at("adam_beta1");
  config.adam_beta2 = hyper.at("adam_beta2");
  config.adam_eps = hyper.at("adam_eps");
  config.weight_decay = hyper.at("weight_decay");
  config.clip_grad = hyper.at("clip_grad");
  config.dataset.shuffle = false;
  config.save_interval = 0;
  config.eval_interval = 0;
  return config;
}

inline TrainingJob job(const std::string& model, const config::RunConfig& config) {
  return {.config = config,
          .model = model::load_model_config(config.hf_path),
          .checkpoint = config.hf_path,
          .device = {DeviceType::kCpu, 0},
          .training = rows(model),
          .validation = {}};
}

/// All values of a parameter, as f32.
inline std::vector<float> values(const Tensor& tensor) {
  std::vector<float> result;
  const auto* data = tensor.as<float>();
  for (std::int64_t row = 0; row < tensor.rows(); ++row) {
    result.insert(result.end(), data + row * tensor.row_stride(), data + row * tensor.row_stride() + tensor.columns());
  }
  return result;
}

}  // namespace primus::train::reference
