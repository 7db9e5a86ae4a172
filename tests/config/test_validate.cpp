#include "config/validate.h"
#include "support.h"

namespace primus::config {
namespace {

using ValidateTest = ConfigTest;

TEST_F(ValidateTest, Batches) {
  EXPECT_EQ(
      run_error({"global_batch_size: 10", "micro_batch_size: 4"}),
      "run.yaml:5:26: global_batch_size (10) is not divisible by micro_batch_size × data-parallel size (4 × 1 = 4)");
  const Resolved resolved = load_run({"global_batch_size: 12", "micro_batch_size: 2", "tensor_model_parallel_size: 2"});
  EXPECT_NO_THROW(check_layout(resolved, 4));
  EXPECT_NO_THROW(check_layout(resolved, 12));
  EXPECT_EQ(
      error_of([&] { check_layout(resolved, 8); }),
      "run.yaml:5:26: global_batch_size (12) is not divisible by micro_batch_size × data-parallel size (2 × 4 = 8)");
  EXPECT_EQ(
      error_of([&] { check_layout(resolved, 3); }),
      "run.yaml:7:35: 3 processes cannot be divided into groups of tensor × pipeline × context parallel size (2 × 1 "
      "× 1 = 2)");
  EXPECT_NE(error_of([&] { check_layout(resolved, 0); }), "no error");
}

TEST_F(ValidateTest, Parallelism) {
  EXPECT_EQ(run_error({"sequence_parallel: true"}),
            "run.yaml:5:26: sequence_parallel needs tensor_model_parallel_size above 1; set it to false");
  EXPECT_EQ(run_error({"sequence_parallel: true", "tensor_model_parallel_size: 2"}), "no error");
  EXPECT_EQ(run_error({"virtual_pipeline_model_parallel_size: 2"}),
            "run.yaml:5:45: virtual_pipeline_model_parallel_size needs pipeline_model_parallel_size above 1");
  EXPECT_EQ(run_error({"context_parallel_size: 4", "seq_length: 2052"}),
            "run.yaml:6:19: seq_length (2052) is not divisible by 2 × context_parallel_size (4)");
}

TEST_F(ValidateTest, TrainingStartsInOneProcess) {
  EXPECT_NO_THROW(check_single_process(load_run({})));
  const Resolved resolved = load_run({"pipeline_model_parallel_size: 2"});
  EXPECT_EQ(error_of([&] { check_single_process(resolved); }),
            "run.yaml:5:37: pipeline_model_parallel_size is 2, and this release trains in one process; run with "
            "--pipeline_model_parallel_size 1");
}

TEST_F(ValidateTest, Recompute) {
  EXPECT_EQ(run_error({"recompute_method: uniform"}),
            "run.yaml:5:25: recompute_method has no effect without recompute_granularity (full or selective)");
  EXPECT_EQ(run_error({"recompute_granularity: full", "recompute_modules: [mlp]"}),
            "run.yaml:6:26: recompute_modules needs recompute_granularity: selective");
  EXPECT_EQ(run_error({"recompute_granularity: full", "recompute_num_layers: 0"}),
            "run.yaml:6:29: recompute_num_layers is 0; recompute_method uniform needs at least 1");
  EXPECT_EQ(run_error({"recompute_granularity: full", "recompute_method: block", "recompute_num_layers: 0"}),
            "no error");
  EXPECT_EQ(run_error({"recompute_granularity: full"}), "no error");
}

TEST_F(ValidateTest, Method) {
  EXPECT_EQ(run_error({"peft: none", "peft_adapter: ./a"}),
            "run.yaml:6:21: peft_adapter needs peft: lora, but peft is none");
  EXPECT_EQ(run_error({"peft_adapter: ./a"}, {{"peft", "none"}}),
            "--peft: peft_adapter needs peft: lora, but peft is none");
  EXPECT_EQ(run_error({"min_lr: 1e-3"}), "run.yaml:5:15: min_lr (0.001) is above finetune_lr (0.0001)");
  EXPECT_EQ(run_error({"most_recent_k: 0"}),
            "run.yaml:5:22: most_recent_k is 0, which would keep no checkpoint; give -1 for all or at least 1");
}

TEST_F(ValidateTest, Dataset) {
  EXPECT_EQ(run_error({"dataset: {path: [a, b], weights: [1]}"}),
            "run.yaml:5:40: dataset.weights has 1 numbers and dataset.path 2 entries; give one weight a path");
  EXPECT_EQ(run_error({"dataset: {path: [a, b], weights: [0, 0]}"}), "run.yaml:5:40: dataset.weights are all 0");
  EXPECT_EQ(run_error({"dataset: {path: a, validation_path: b, validation_fraction: 0.1}"}),
            "run.yaml:5:67: dataset.validation_path and dataset.validation_fraction are both given; keep one");
  EXPECT_EQ(error_of([&] { require_dataset(load_run({})); }),
            "dataset.path is not given; name the training data with --dataset.path FILE or in overrides");
  EXPECT_NO_THROW(require_dataset(load_run({"dataset: {path: a}"})));
}

TEST_F(ValidateTest, Model) {
  const ModelShape shape{.num_hidden_layers = 36,
                         .num_attention_heads = 32,
                         .num_key_value_heads = 8,
                         .intermediate_size = 12288,
                         .max_position_embeddings = 40960};
  const auto error = [&](const std::vector<std::string>& overrides) {
    const Resolved resolved = load_run(overrides);
    return error_of([&] { check_model(resolved, shape); });
  };
  EXPECT_EQ(error({"seq_length: 40960", "tensor_model_parallel_size: 8"}), "no error");
  EXPECT_EQ(error({"seq_length: 40961"}),
            "run.yaml:5:19: seq_length (40961) is longer than the model's positions (40960)");
  EXPECT_EQ(error({"tensor_model_parallel_size: 3"}),
            "run.yaml:5:35: the model's attention heads (32) cannot be divided by tensor_model_parallel_size (3)");
  EXPECT_EQ(error({"tensor_model_parallel_size: 16"}),
            "run.yaml:5:35: the model's key-value heads (8) cannot be divided by tensor_model_parallel_size (16)");
  EXPECT_EQ(error({"pipeline_model_parallel_size: 5"}),
            "run.yaml:5:37: the model's layers (36) cannot be divided by the pipeline's stages and chunks (5)");
}

}  // namespace
}  // namespace primus::config
