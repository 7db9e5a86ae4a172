#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "checkpoint/safetensors.h"
#include "reference.h"

/// Whole runs against transformers and PEFT: eight steps, loss and gradient norm of each, and the weights at the end.
namespace primus::train {
namespace {

enum class Recompute { kNone, kFullUniform1, kFullUniform2, kFullBlock, kSelectiveAttention, kSelectiveAll };

struct Case {
  std::string model;
  bool lora;
  int micro_batch_size;
  Recompute recompute;
  Device device;
};

std::string name_of(const Case& run) {
  static const char* const kNames[] = {"none", "uniform1", "uniform2", "block", "attention", "all_modules"};
  const std::string on = run.device.type == DeviceType::kCpu ? "" : std::string("_") + name_of(run.device.type);
  return fmt::format("{}_{}_mbs{}_{}{}", run.model, run.lora ? "lora" : "sft", run.micro_batch_size,
                     kNames[static_cast<int>(run.recompute)], on);
}

void set_recompute(Recompute recompute, config::RunConfig& config) {
  using config::RecomputeGranularity;
  using config::RecomputeMethod;
  switch (recompute) {
    case Recompute::kNone:
      return;
    case Recompute::kFullUniform1:
    case Recompute::kFullUniform2:
      config.recompute_granularity = RecomputeGranularity::kFull;
      config.recompute_method = RecomputeMethod::kUniform;
      config.recompute_num_layers = recompute == Recompute::kFullUniform1 ? 1 : 2;
      return;
    case Recompute::kFullBlock:
      config.recompute_granularity = RecomputeGranularity::kFull;
      config.recompute_method = RecomputeMethod::kBlock;
      config.recompute_num_layers = 1;
      return;
    case Recompute::kSelectiveAttention:
      config.recompute_granularity = RecomputeGranularity::kSelective;
      return;
    case Recompute::kSelectiveAll:
      config.recompute_granularity = RecomputeGranularity::kSelective;
      config.recompute_modules = {"core_attn", "layernorm", "mlp_act", "mlp"};
      return;
  }
}

class Parity : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { std::filesystem::remove_all(workspace()); }
  void TearDown() override { std::filesystem::remove_all(workspace()); }

  std::string workspace() const { return testing::TempDir() + "primus_parity_" + name_of(GetParam()); }
};

TEST_P(Parity, LossesNormsAndFinalWeightsEqualTheReference) {
  const Case& run = GetParam();
  const std::filesystem::path folder = reference::folder(run.model);
  const auto expected = reference::read_json(folder / (run.lora ? "lora.json" : "sft.json"));
  config::RunConfig config = reference::run_config(run.model, expected, run.lora, run.device);
  config.workspace = workspace();
  config.micro_batch_size = run.micro_batch_size;
  set_recompute(run.recompute, config);

  Trainer trainer(reference::job(run.model, config, run.device));
  std::vector<monitor::StepMetrics> steps;
  ASSERT_TRUE(trainer.run({.step = [&](const auto& step) { steps.push_back(step); }, .validation = {}}, {}));

  ASSERT_EQ(steps.size(), expected.at("steps").size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& step = expected.at("steps").at(i);
    EXPECT_EQ(steps[i].iteration, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(steps[i].trained_tokens, step.at("trained_tokens").get<std::int64_t>());
    EXPECT_NEAR(steps[i].loss, step.at("loss").get<double>(), 1e-4 * step.at("loss").get<double>());
    EXPECT_NEAR(steps[i].grad_norm, step.at("grad_norm").get<double>(), 1e-4 * step.at("grad_norm").get<double>());
    EXPECT_DOUBLE_EQ(steps[i].learning_rate, step.at("learning_rate").get<double>());
    EXPECT_EQ(steps[i].skipped, 0);
  }

  const checkpoint::SafetensorsFile weights(run.lora ? folder / "lora_final/adapter_model.safetensors"
                                                     : folder / "sft_final.safetensors");
  std::size_t compared = 0;
  for (const model::Parameter& parameter : trainer.memory().decoder.parameters().all()) {
    if (!parameter.trainable) continue;
    const auto* tensor = weights.find(run.lora ? "base_model.model." + parameter.name : parameter.name);
    ASSERT_NE(tensor, nullptr) << parameter.name;
    std::vector<float> final_values(static_cast<std::size_t>(tensor->numel()));
    std::memcpy(final_values.data(), tensor->data.data(), tensor->data.size());
    const std::vector<float> found = reference::values(trainer.stream(), parameter.master);
    ASSERT_EQ(found.size(), final_values.size()) << parameter.name;
    // relative to the parameter's largest value: AdamW's first steps have the size of the learning rate whatever the
    // gradient, so a weight whose gradient is rounding noise may move by 2·lr either way
    double largest = 0.0;
    double difference = 0.0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(final_values[i])));
      difference = std::max(difference, std::abs(static_cast<double>(found[i]) - final_values[i]));
    }
    EXPECT_LT(difference, 1e-3 * largest) << parameter.name;
    ++compared;
  }
  EXPECT_EQ(compared, weights.tensors().size());
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Device& device : test::all_devices()) {
    for (const char* model : {"qwen3", "qwen3_tied", "llama31", "qwen2"}) {
      for (const bool lora : {false, true}) {
        for (const int micro : {1, 2, 4}) {
          all.push_back({model, lora, micro, Recompute::kNone, device});
          all.push_back({model, lora, micro, Recompute::kFullUniform1, device});
        }
        for (const Recompute recompute : {Recompute::kFullUniform2, Recompute::kFullBlock,
                                          Recompute::kSelectiveAttention, Recompute::kSelectiveAll}) {
          all.push_back({model, lora, 2, recompute, device});
        }
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Runs, Parity, testing::ValuesIn(cases()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace primus::train
