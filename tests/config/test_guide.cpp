#include "config/show.h"
#include "config/validate.h"
#include "support.h"

namespace primus::config {
namespace {

/// The four configurations of the guide resolve to what the guide says.
class GuideTest : public ConfigTest {
 protected:
  Resolved load_example(const std::string& name) const {
    return load_file(std::filesystem::path(PRIMUS_SOURCE_DIR) / "examples/megatron_bridge/configs" / name);
  }
};

TEST_F(GuideTest, Mi355xSft) {
  const Resolved resolved = load_example("MI355X/qwen3_32b_sft_posttrain.yaml");
  const RunConfig& config = resolved.config;
  EXPECT_EQ(config.work_group, "amd");
  EXPECT_EQ(config.user_name, "root");
  EXPECT_EQ(config.exp_name, "qwen3_32b_sft_posttrain");
  EXPECT_EQ(config.workspace, "./output");
  EXPECT_EQ(config.run_directory(), "./output/amd/root/qwen3_32b_sft_posttrain");
  EXPECT_EQ(config.model, "qwen3_32b.yaml");
  EXPECT_EQ(config.config, "sft_trainer.yaml");
  EXPECT_EQ(config.hf_path, "Qwen/Qwen3-32B");
  EXPECT_EQ(config.tensor_model_parallel_size, 1);
  EXPECT_EQ(config.peft, Peft::kNone);
  EXPECT_EQ(config.train_iters, 200);
  EXPECT_EQ(config.lr_decay_iters, 200);
  EXPECT_EQ(config.global_batch_size, 8);
  EXPECT_EQ(config.micro_batch_size, 1);
  EXPECT_EQ(config.seq_length, 8192);
  EXPECT_EQ(config.finetune_lr, 5e-6);
  EXPECT_EQ(config.min_lr, 0.0);
  EXPECT_EQ(config.lr_warmup_iters, 50);
  EXPECT_EQ(config.precision_config, Precision::kBf16Mixed);
  EXPECT_EQ(config.recompute_granularity, RecomputeGranularity::kNone);
  EXPECT_TRUE(resolved.ignored_keys.empty());
}

TEST_F(GuideTest, Mi355xLora) {
  const RunConfig config = load_example("MI355X/qwen3_32b_lora_posttrain.yaml").config;
  EXPECT_EQ(config.peft, Peft::kLora);
  EXPECT_EQ(config.global_batch_size, 32);
  EXPECT_EQ(config.micro_batch_size, 4);
  EXPECT_EQ(config.finetune_lr, 1e-4);
  EXPECT_EQ(config.recompute_granularity, RecomputeGranularity::kFull);
  EXPECT_EQ(config.recompute_method, RecomputeMethod::kUniform);
  EXPECT_EQ(config.recompute_num_layers, 1);
}

TEST_F(GuideTest, Mi300x) {
  const RunConfig sft = load_example("MI300X/qwen3_32b_sft_posttrain.yaml").config;
  EXPECT_EQ(sft.tensor_model_parallel_size, 2);
  EXPECT_EQ(sft.global_batch_size, 8);
  EXPECT_EQ(sft.micro_batch_size, 2);
  EXPECT_EQ(sft.seq_length, 8192);
  const RunConfig lora = load_example("MI300X/qwen3_32b_lora_posttrain.yaml").config;
  EXPECT_EQ(lora.tensor_model_parallel_size, 1);
  EXPECT_EQ(lora.global_batch_size, 32);
  EXPECT_EQ(lora.micro_batch_size, 2);
  EXPECT_EQ(lora.seq_length, 8192);
}

TEST_F(GuideTest, EnvironmentChoosesNamesAndWorkspace) {
  variables_["PRIMUS_TEAM"] = "research";
  variables_["PRIMUS_USER"] = "ada";
  variables_["PRIMUS_EXP_NAME"] = "first";
  variables_["PRIMUS_WORKSPACE"] = "/scratch/out";
  EXPECT_EQ(load_example("MI355X/qwen3_32b_sft_posttrain.yaml").config.run_directory(),
            "/scratch/out/research/ada/first");
}

TEST_F(GuideTest, LayoutsOfTheTableFitTheirHosts) {
  EXPECT_NO_THROW(check_layout(load_example("MI300X/qwen3_32b_sft_posttrain.yaml"), 8));
  EXPECT_NO_THROW(check_layout(load_example("MI300X/qwen3_32b_lora_posttrain.yaml"), 8));
  EXPECT_NO_THROW(check_layout(load_example("MI355X/qwen3_32b_sft_posttrain.yaml"), 8));
  EXPECT_NO_THROW(check_layout(load_example("MI355X/qwen3_32b_lora_posttrain.yaml"), 8));
}

TEST_F(GuideTest, WhatIsShownLoadsAgain) {
  for (const char* name : {"MI355X/qwen3_32b_sft_posttrain.yaml", "MI355X/qwen3_32b_lora_posttrain.yaml",
                           "MI300X/qwen3_32b_sft_posttrain.yaml", "MI300X/qwen3_32b_lora_posttrain.yaml"}) {
    const RunConfig config = load_example(name).config;
    EXPECT_EQ(load_file(write("shown.yaml", to_yaml(config))).config, config) << name;
  }
}

/// Settings of earlier published examples, with the keys that mean nothing here.
TEST_F(GuideTest, PublishedPresetNamesResolve) {
  const auto file =
      write_run({"tensor_model_parallel_size: 8", "pipeline_dtype: null", "virtual_pipeline_model_parallel_size: null",
                 "use_megatron_fsdp: false", "peft: lora", "peft_dim: 16", "peft_alpha: 32", "packed_sequence: false",
                 "lr_decay_iters: null", "use_distributed_optimizer: false", "cross_entropy_loss_fusion: false",
                 "wandb_project: null", "wandb_entity: null", "wandb_exp_name: null", "precision_config: bf16_mixed",
                 "comm_overlap_config: null"},
                "config: post_trainer.yaml\n    model: llama31_70b.yaml");
  const Resolved resolved = load_file(file);
  EXPECT_EQ(resolved.config.hf_path, "meta-llama/Llama-3.1-70B");
  EXPECT_EQ(resolved.config.peft_dim, 16);
  EXPECT_EQ(resolved.ignored_keys.size(), 7U);
}

}  // namespace
}  // namespace primus::config
