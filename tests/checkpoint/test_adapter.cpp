#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/hf.h"
#include "checkpoint/peft.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/transfer.h"
#include "support.h"

namespace primus::checkpoint {
namespace {

using nlohmann::json;

class Adapter : public testing::TestWithParam<const char*> {
 protected:
  model::ModelConfig config() const { return model::load_model_config(reference(GetParam()) / "hf"); }
  fs::path source() const { return reference(GetParam()) / "lora_init"; }
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Models, Adapter, testing::Values("qwen3", "qwen3_tied", "qwen2", "llama31"));

TEST_P(Adapter, LoadsMastersAndPublishesScaledCopies) {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    TinyModel memory(config(), {.compute = compute, .lora_rank = 4, .lora_alpha = 8.0});
    load_adapter(source(), memory.registry(), memory.stream());
    const SafetensorsFile file(source() / "adapter_model.safetensors");
    int matrices = 0;
    for (const model::Parameter& parameter : memory.registry().all()) {
      if (!is_adapter(parameter)) continue;
      ++matrices;
      const StoredTensor* stored = file.find("base_model.model." + parameter.name);
      ASSERT_NE(stored, nullptr);
      const auto* exact = reinterpret_cast<const float*>(stored->data.data());
      const std::vector<float> expected(exact, exact + stored->numel());
      EXPECT_EQ(values(parameter.master), expected) << parameter.name;
      const Tensor& read = parameter.published ? parameter.published : parameter.weight;
      std::vector<float> computed = expected;
      for (float& value : computed) {
        value *= parameter.publish_scale;
        if (compute == DType::kBF16) value = static_cast<float>(BFloat16(value));
      }
      EXPECT_EQ(values(read), computed) << parameter.name;
    }
    EXPECT_EQ(matrices, 2 * 7 * config().num_hidden_layers);
  }
}

TEST_P(Adapter, SavesTheBytesThatPeftSaves) {
  TinyModel memory(config(), {.lora_rank = 4});
  load_adapter(source(), memory.registry(), memory.stream());
  LoraInfo info = read_adapter_info(source());
  EXPECT_EQ(info.rank, 4);
  EXPECT_EQ(info.alpha, 8.0);
  EXPECT_EQ(info.target_modules,
            (std::vector<std::string>{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}));
  save_adapter(folder_ / "out", memory.registry(), info, memory.stream());
  EXPECT_EQ(read_bytes(folder_ / "out/adapter_model.safetensors"), read_bytes(source() / "adapter_model.safetensors"));

  // the list of modules is a set in PEFT: its order means nothing
  json ours = json::parse(read_bytes(folder_ / "out/adapter_config.json"));
  json theirs = json::parse(read_bytes(source() / "adapter_config.json"));
  for (json* one : {&ours, &theirs}) std::sort((*one)["target_modules"].begin(), (*one)["target_modules"].end());
  EXPECT_EQ(ours, theirs);
  EXPECT_EQ(read_adapter_info(folder_ / "out").target_modules, info.target_modules);
}

class AdapterConfig : public testing::Test {
 protected:
  AdapterConfig() {
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
      fs::copy_file(reference("qwen2") / "lora_init" / name, folder_ / name);
    }
    config_ = json::parse(read_bytes(folder_ / "adapter_config.json"));
  }
  LoraInfo read(const json& config) {
    write_bytes(folder_ / "adapter_config.json", config.dump());
    return read_adapter_info(folder_.path());
  }
  void refused(const char* key, const json& value) {
    json config = config_;
    config[key] = value;
    expect_error([&] { read(config); }, {"adapter_config.json", key});
  }

  TemporaryFolder folder_;
  json config_;
};

TEST_F(AdapterConfig, TargetsMayBeAnything) {
  for (const json& targets : {json("all-linear"), json(R"(.*\.(q|k)_proj)"), json({"q_proj"}), json(nullptr)}) {
    json config = config_;
    config["target_modules"] = targets;
    EXPECT_EQ(read(config).target_modules.size(), 7U);
  }
}

TEST_F(AdapterConfig, RankStabilizedScalingBecomesAnAlpha) {
  json config = config_;
  config["use_rslora"] = true;
  const LoraInfo info = read(config);
  EXPECT_DOUBLE_EQ(info.alpha / static_cast<double>(info.rank), 8.0 / 2.0);  // alpha / √rank
}

TEST_F(AdapterConfig, RefusesWhatIsNotPlainLora) {
  refused("peft_type", "IA3");
  refused("bias", "all");
  refused("use_dora", true);
  refused("modules_to_save", {"lm_head"});
  refused("rank_pattern", {{"q_proj", 8}});
  refused("alpha_pattern", {{"q_proj", 8}});
  refused("lora_bias", true);
  refused("layer_replication", {{0, 1}});
  refused("trainable_token_indices", {1});
  refused("init_lora_weights", "pissa_niter_4");
  refused("r", 0);
  refused("r", "four");
  refused("lora_alpha", -1);
  json config = config_;
  config["r"] = 8;
  expect_error([&] { read(config); }, {"rank 8", "lora_A (4, "});
  config = config_;
  config["init_lora_weights"] = "gaussian";
  config["modules_to_save"] = json::array();
  EXPECT_EQ(read(config).rank, 4);
}

TEST_F(AdapterConfig, SaysWhatIsThereInstead) {
  fs::remove(folder_ / "adapter_model.safetensors");
  expect_error([&] { read_adapter_info(folder_.path()); }, {"no adapter_model.safetensors"});
  write_bytes(folder_ / "adapter_model.bin", "x");
  expect_error([&] { read_adapter_info(folder_.path()); }, {"pickle"});
}

TEST_F(AdapterConfig, TensorsThatDoNotFit) {
  const auto load = [&](const model::ModelConfig& config, const TinyOptions& options) {
    TinyModel memory(config, options);
    load_adapter(folder_.path(), memory.registry(), memory.stream());
  };
  const model::ModelConfig qwen2 = model::load_model_config(reference("qwen2") / "hf");
  load(qwen2, {.lora_rank = 4});
  expect_error([&] { load(qwen2, {.lora_rank = 8}); }, {"lora_A", "(4, 64)", "(8, 64)"});
  model::ModelConfig deeper = qwen2;
  deeper.num_hidden_layers = 3;
  expect_error([&] { load(deeper, {.lora_rank = 4}); }, {"layers.2", "missing"});
  model::ModelConfig shallower = qwen2;
  shallower.num_hidden_layers = 1;
  expect_error([&] { load(shallower, {.lora_rank = 4}); }, {"layers.1", "no place"});

  const SafetensorsFile file(reference("qwen2") / "lora_init" / "adapter_model.safetensors");
  std::vector<TensorSpec> specs;
  for (const StoredTensor& tensor : file.tensors()) specs.emplace_back(tensor.name, DType::kF32, tensor.shape);
  specs[0].name = "base_model.model.lm_head.modules_to_save.weight";
  SafetensorsWriter writer(folder_ / "adapter_model.safetensors", specs);
  for (const TensorSpec& spec : writer.tensors()) writer.write(std::vector<std::byte>(spec.bytes));
  writer.finish();
  expect_error([&] { read_adapter_info(folder_.path()); }, {"modules_to_save.weight", "neither"});
}

}  // namespace
}  // namespace primus::checkpoint
