#include <algorithm>
#include <set>

#include "config/schema.h"
#include "config/show.h"
#include "support.h"

namespace primus::config {
namespace {

using ShowTest = ConfigTest;

TEST_F(ShowTest, EverySettingSurvivesShowAndLoad) {
  const RunConfig config = load_run({"peft: none",
                                     "peft_dim: 4",
                                     "peft_alpha: 7.5",
                                     "peft_dropout: 0.1",
                                     "tensor_model_parallel_size: 2",
                                     "pipeline_model_parallel_size: 2",
                                     "virtual_pipeline_model_parallel_size: 3",
                                     "context_parallel_size: 2",
                                     "sequence_parallel: true",
                                     "use_distributed_optimizer: false",
                                     "train_iters: 7",
                                     "global_batch_size: 12",
                                     "micro_batch_size: 3",
                                     "seq_length: 4096",
                                     "packed_sequence: true",
                                     "eval_interval: 0",
                                     "eval_iters: 1",
                                     "save_interval: 0",
                                     "log_interval: 9",
                                     "finetune_lr: 0.1234567890123",
                                     "min_lr: 1e-7",
                                     "lr_warmup_iters: 0",
                                     "lr_decay_iters: 3",
                                     "lr_decay_style: inverse-square-root",
                                     "adam_beta1: 0.8",
                                     "adam_beta2: 0.95",
                                     "adam_eps: 1e-6",
                                     "weight_decay: 0.5",
                                     "clip_grad: 0",
                                     "main_params_dtype: bf16",
                                     "main_grads_dtype: bf16",
                                     "exp_avg_dtype: bf16",
                                     "exp_avg_sq_dtype: bf16",
                                     "precision_config: fp16_mixed",
                                     "recompute_granularity: selective",
                                     "recompute_method: block",
                                     "recompute_num_layers: 0",
                                     "recompute_modules: [core_attn, mlp]",
                                     "cpu_offloading: true",
                                     "device: cpu",
                                     "deterministic: true",
                                     "seed: 18",
                                     "save: /s p/a",
                                     "load: 'null'",
                                     "most_recent_k: 3",
                                     "export_hf: false",
                                     "peft_target_modules: [linear_fc1]",
                                     "dataset:",
                                     "  path: ['a, b.jsonl', \"quote\\\" \\\\ tab\\t ü\", '-x', 'true', '12']",
                                     "  weights: [1, 2, 0.5, 1e-3, 0]",
                                     "  validation_path: v",
                                     "  format: alpaca",
                                     "  columns: {prompt: 'the: question', 'null': '#x'}",
                                     "  loss_mode: full",
                                     "  chat_template: \"$${not a variable}\"",
                                     "  shuffle: false",
                                     "  num_workers: 2"},
                                    {{"exp_name", "${X} {y}"}, {"hf_path", "~/models"}})
                               .config;
  EXPECT_EQ(config.dataset.chat_template, "${not a variable}");
  const std::string shown = to_yaml(config);
  EXPECT_EQ(load_file(write("shown.yaml", shown)).config, config) << shown;
}

TEST_F(ShowTest, AutomaticRecomputeLoadsAgain) {
  const RunConfig config = load_run({"recompute_granularity: auto"}).config;
  EXPECT_EQ(load_file(write("shown.yaml", to_yaml(config))).config, config) << to_yaml(config);
}

TEST_F(ShowTest, APresetBesideTheRunFileIsFoundFromElsewhere) {
  write("my_model.yaml", "hf_path: org/model\n");
  const RunConfig config = load_file(write_run({}, "model: my_model.yaml")).config;
  EXPECT_EQ(config.model, (folder_ / "my_model.yaml").string());
  EXPECT_EQ(load_file(write("workspace/config.yaml", to_yaml(config))).config, config);
}

TEST_F(ShowTest, ExplainSaysWhereEachValueCameFrom) {
  const Resolved resolved = load_run({"train_iters: 5", "lr_decay_iters: null"}, {{"seed", "3"}});
  const std::string text = without_folder(explain(resolved));
  EXPECT_NE(text.find("# run.yaml:5:20\n"), std::string::npos) << text;
  EXPECT_NE(text.find("# command line --seed\n"), std::string::npos) << text;
  EXPECT_NE(text.find("# run.yaml:6:7 says null: train_iters\n"), std::string::npos) << text;
  EXPECT_NE(text.find("# default: 5e-06 when peft is none, 0.0001 when it is lora\n"), std::string::npos) << text;
  EXPECT_NE(text.find("qwen3_8b.yaml:2:10\n"), std::string::npos) << text;
  EXPECT_EQ(load_file(write("explained.yaml", explain(resolved))).config, resolved.config);
}

TEST_F(ShowTest, EveryKeyIsComplete) {
  std::set<std::string> names;
  for (const KeySpec& key : schema()) {
    EXPECT_TRUE(key.set && key.reset && key.show) << key.name;
    EXPECT_FALSE(key.type.empty() || key.meaning.empty() || key.default_text.empty() || key.section.empty())
        << key.name;
    EXPECT_EQ(key.meaning.back(), '.') << key.name;
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    for (const std::string& alias : key.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
  }
  for (const KeySpec& key : schema()) {
    for (const std::string& other : key.elsewhere) EXPECT_FALSE(names.contains(other)) << other;
    EXPECT_FALSE(is_foreign_key(key.place, key.name)) << key.name;
  }
}

TEST_F(ShowTest, TheReferenceNamesEveryKey) {
  const std::string text = reference_markdown();
  for (const KeySpec& key : schema()) EXPECT_NE(text.find("| `" + key.name + "`"), std::string::npos) << key.name;
  EXPECT_NE(text.find("| `hf_path`, `pretrained_checkpoint` | text, null | from the model preset |"),
            std::string::npos);
  EXPECT_NE(text.find("| `train_iters` | integer ≥ 1 | `1000` |"), std::string::npos) << text;
  EXPECT_NE(text.find("| `peft` | none, lora, null | `lora` |"), std::string::npos) << text;
  EXPECT_NE(text.find("`use_turbo_*`"), std::string::npos);
  std::size_t start = 0;
  while ((start = text.find("\n| ", start)) != std::string::npos) {
    const std::string row = text.substr(start + 1, text.find('\n', start + 1) - start - 1);
    EXPECT_EQ(std::count(row.begin(), row.end(), '|'), 5) << row;
    ++start;
  }
}

}  // namespace
}  // namespace primus::config
