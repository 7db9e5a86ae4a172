#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/transfer.h"
#include "config/run_config.h"
#include "data/token_set.h"
#include "model/config.h"
#include "tests/devices.h"
#include "train/trainer.h"

/// The tiny models of tests/data/reference and the runs that transformers and PEFT made of them (float32).
namespace primus::train::reference {

/// |found − expected| / |expected|, Euclidean norms.
inline double relative_difference(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

/// In the source tree, or where $PRIMUS_TEST_DATA says (on a host that has only the test programs).
inline std::filesystem::path folder(const std::string& model) {
  const char* elsewhere = std::getenv("PRIMUS_TEST_DATA");
  return std::filesystem::path(elsewhere != nullptr ? elsewhere : PRIMUS_TEST_DATA) / "reference" / model;
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
inline config::RunConfig run_config(const std::string& model, const nlohmann::json& run, bool lora, Device device) {
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
  config.device = device.type == DeviceType::kCpu    ? config::DeviceChoice::kCpu
                  : device.type == DeviceType::kCuda ? config::DeviceChoice::kCuda
                                                     : config::DeviceChoice::kHip;
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

inline TrainingJob job(const std::string& model, const config::RunConfig& config, Device device) {
  return {.config = config,
          .model = model::load_model_config(config.hf_path),
          .checkpoint = config.hf_path,
          .device = device,
          .training = rows(model),
          .validation = {}};
}

/// All values of a tensor, as f32.
inline std::vector<float> values(Stream& stream, const Tensor& tensor) {
  std::vector<float> result;
  checkpoint::Transfer(stream).read(tensor, DType::kF32, [&](std::span<const std::byte> bytes) {
    const std::size_t count = result.size();
    result.resize(count + bytes.size() / sizeof(float));
    std::memcpy(result.data() + count, bytes.data(), bytes.size());
  });
  return result;
}

/// Row numbers on the stream's device.
struct RowIndex {
  RowIndex(Stream& stream, const std::vector<std::int32_t>& rows)
      : arena(Arena::allocate(stream.device(), rows.size() * sizeof(std::int32_t))),
        tensor(arena.vector(MemoryKind::kWorkspace, "rows", DType::kI32, static_cast<std::int64_t>(rows.size()))) {
    stream.copy_to_device(tensor, rows.data());
  }
  Arena arena;
  Tensor tensor;
};

/// A reference model on a device.
struct ModelOnDevice {
  std::string model;
  Device device;
};

inline std::string name_of(const ModelOnDevice& value) {
  const bool on_cpu = value.device.type == DeviceType::kCpu;
  return value.model + (on_cpu ? "" : std::string("_") + primus::name_of(value.device.type));
}

inline std::vector<ModelOnDevice> on_all_devices(const std::vector<std::string>& models) {
  std::vector<ModelOnDevice> all;
  for (const Device& device : test::all_devices()) {
    for (const std::string& model : models) all.push_back({model, device});
  }
  return all;
}

}  // namespace primus::train::reference
