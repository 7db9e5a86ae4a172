#include <chrono>

#include "support.h"

namespace primus::config {
namespace {

using LoadTest = ConfigTest;

TEST_F(LoadTest, DefaultsAreTheContracts) {
  const RunConfig config = load({{}, {}, environment()}).config;
  EXPECT_EQ(config.peft, Peft::kLora);
  EXPECT_EQ(config.peft_dim, 32);
  EXPECT_EQ(config.peft_alpha, 32.0);
  EXPECT_EQ(config.peft_dropout, 0.0);
  EXPECT_TRUE(config.peft_target_modules.empty());
  EXPECT_EQ(config.train_iters, 1000);
  EXPECT_EQ(config.global_batch_size, 128);
  EXPECT_EQ(config.micro_batch_size, 1);
  EXPECT_EQ(config.seq_length, 2048);
  EXPECT_FALSE(config.packed_sequence);
  EXPECT_EQ(config.eval_interval, 30);
  EXPECT_EQ(config.eval_iters, 32);
  EXPECT_EQ(config.save_interval, 50);
  EXPECT_EQ(config.finetune_lr, 1e-4);
  EXPECT_EQ(config.min_lr, 0.0);
  EXPECT_EQ(config.lr_warmup_iters, 50);
  EXPECT_EQ(config.lr_decay_iters, 1000);
  EXPECT_EQ(config.lr_decay_style, DecayStyle::kCosine);
  EXPECT_EQ(config.adam_beta1, 0.9);
  EXPECT_EQ(config.adam_beta2, 0.98);
  EXPECT_EQ(config.adam_eps, 1e-8);
  EXPECT_EQ(config.weight_decay, 0.033);
  EXPECT_EQ(config.clip_grad, 1.0);
  EXPECT_EQ(config.seed, 5678U);
  EXPECT_EQ(config.precision_config, Precision::kBf16Mixed);
  EXPECT_EQ(config.recompute_granularity, RecomputeGranularity::kNone);
  EXPECT_EQ(config.most_recent_k, -1);
  EXPECT_TRUE(config.export_hf);
  EXPECT_TRUE(config.use_distributed_optimizer);
  EXPECT_FALSE(config.sequence_parallel);
  EXPECT_FALSE(config.cpu_offloading);
  EXPECT_FALSE(config.deterministic);
  EXPECT_EQ(config.save, "./output/primus/user/posttrain/checkpoints");
  EXPECT_EQ(config.load, "");
}

TEST_F(LoadTest, TheModulePresetRepeatsTheDefaults) {
  RunConfig with = load({{}, {{"config", "sft_trainer.yaml"}}, environment()}).config;
  with.config.clear();
  EXPECT_EQ(with, load({{}, {}, environment()}).config);
}

TEST_F(LoadTest, LearningRateFollowsTheMethod) {
  EXPECT_EQ(load_run({"peft: none"}).config.finetune_lr, 5e-6);
  EXPECT_EQ(load_run({"peft: lora"}).config.finetune_lr, 1e-4);
  EXPECT_EQ(load_run({"peft: none", "finetune_lr: null"}).config.finetune_lr, 5e-6);
  EXPECT_EQ(load_run({"peft: none", "lr: 3e-6"}).config.finetune_lr, 3e-6);
}

TEST_F(LoadTest, DecayEndsWithTraining) {
  EXPECT_EQ(load_run({"train_iters: 70"}).config.lr_decay_iters, 70);
  EXPECT_EQ(load_run({"train_iters: 70", "lr_decay_iters: null"}).config.lr_decay_iters, 70);
  EXPECT_EQ(load_run({"train_iters: 70", "lr_decay_iters: 60"}).config.lr_decay_iters, 60);
}

TEST_F(LoadTest, NumbersInEveryNotation) {
  for (const char* text : {"1e-5", "1.0e-5", "1E-5", "0.00001", ".00001", "+1e-5", "1.e-5"}) {
    EXPECT_EQ(load_run({std::string("finetune_lr: ") + text}).config.finetune_lr, 1e-5) << text;
  }
  EXPECT_EQ(load_run({"finetune_lr: 5.0e-6"}).config.finetune_lr, 5e-6);
  EXPECT_EQ(load_run({"weight_decay: 0"}).config.weight_decay, 0.0);
  EXPECT_EQ(load_run({"train_iters: 012"}).config.train_iters, 12);  // not octal
  EXPECT_EQ(load_run({"train_iters: +12"}).config.train_iters, 12);
  EXPECT_EQ(load_run({"seed: 9007199254740993"}).config.seed, 9007199254740993U);
}

TEST_F(LoadTest, TruthValues) {
  for (const char* text : {"true", "True", "TRUE"}) {
    EXPECT_TRUE(load_run({std::string("packed_sequence: ") + text}).config.packed_sequence);
  }
  for (const char* text : {"false", "False", "FALSE"}) {
    EXPECT_FALSE(load_run({std::string("export_hf: ") + text}).config.export_hf);
  }
}

TEST_F(LoadTest, ListsAndMaps) {
  const RunConfig config =
      load_run({"dataset:", "  path: [a.jsonl, b.jsonl]", "  weights: [1, 0.5]", "  validation_path: v.jsonl",
                "  columns: {prompt: question, 'completion': answer}", "  loss_mode: last_turn", "  shuffle: false"})
          .config;
  EXPECT_EQ(config.dataset.path, (std::vector<std::string>{"a.jsonl", "b.jsonl"}));
  EXPECT_EQ(config.dataset.weights, (std::vector<double>{1.0, 0.5}));
  EXPECT_EQ(config.dataset.validation_path, std::vector<std::string>{"v.jsonl"});
  EXPECT_EQ(config.dataset.columns,
            (std::map<std::string, std::string>{{"completion", "answer"}, {"prompt", "question"}}));
  EXPECT_EQ(config.dataset.loss_mode, LossMode::kLastTurn);
  EXPECT_FALSE(config.dataset.shuffle);
  EXPECT_EQ(load_run({"dataset: {path: 'with, comma.jsonl'}"}).config.dataset.path,
            std::vector<std::string>{"with, comma.jsonl"});
}

TEST_F(LoadTest, TargetModulesAreExpanded) {
  const auto modules = [&](const std::string& text) {
    return load_run({"peft_target_modules: " + text}).config.peft_target_modules;
  };
  EXPECT_EQ(modules("[linear_qkv]"), (std::vector<std::string>{"q_proj", "k_proj", "v_proj"}));
  EXPECT_EQ(modules("[linear_fc2, linear_proj]"), (std::vector<std::string>{"o_proj", "down_proj"}));
  EXPECT_EQ(modules("[v_proj, q_proj, linear_fc1, up_proj]"),
            (std::vector<std::string>{"q_proj", "v_proj", "gate_proj", "up_proj"}));
  EXPECT_EQ(modules("all-linear"), std::vector<std::string>());
  EXPECT_EQ(modules("[linear_qkv, linear_proj, linear_fc1, linear_fc2]"), std::vector<std::string>());
  EXPECT_EQ(modules("null"), std::vector<std::string>());
}

TEST_F(LoadTest, NullTakesTheDefault) {
  const RunConfig config =
      load_run({"recompute_granularity: null", "recompute_method: null",
                "recompute_num_layers:", "virtual_pipeline_model_parallel_size: null", "save: null", "load: null",
                "pretrained_checkpoint: null", "most_recent_k: null", "dataset: null"})
          .config;
  EXPECT_EQ(config.recompute_granularity, RecomputeGranularity::kNone);
  EXPECT_EQ(config.recompute_num_layers, 1);
  EXPECT_FALSE(config.virtual_pipeline_model_parallel_size.has_value());
  EXPECT_EQ(config.save, "./output/primus/user/posttrain/checkpoints");
  EXPECT_EQ(config.hf_path, "Qwen/Qwen3-8B");  // null leaves the preset's
  EXPECT_EQ(load_run({"peft: null"}).config.peft, Peft::kNone);
}

TEST_F(LoadTest, AliasesNameTheSameKey) {
  EXPECT_EQ(load_run({"pretrained_checkpoint: /models/mine"}).config.hf_path, "/models/mine");
  EXPECT_EQ(load_run({"hf_path: /models/mine", "pretrained_checkpoint: null"}).config.hf_path, "/models/mine");
  EXPECT_EQ(load_run({"optimizer: adamw"}).config.optimizer, "adam");
  EXPECT_EQ(load_run({"dataset: {format: alpaca}"}).config.dataset.format, "instruction");
}

TEST_F(LoadTest, ForeignKeysAreNamedOnce) {
  const Resolved resolved =
      load_run({"enable_primus_turbo: true", "use_turbo_attention: false", "stderr_sink_level: DEBUG",
                "tokenizer_type: HuggingFaceTokenizer", "wandb_project: null", "pipeline_dtype: null",
                "use_megatron_fsdp: false", "comm_overlap_config: null", "dataset: {_target_: x.y, path: a}"},
               {{"use_turbo_attention", "true"}, {"fp8", "hybrid"}});
  EXPECT_EQ(resolved.ignored_keys,
            (std::vector<std::string>{"use_turbo_attention", "fp8", "enable_primus_turbo", "stderr_sink_level",
                                      "tokenizer_type", "wandb_project", "pipeline_dtype", "use_megatron_fsdp",
                                      "comm_overlap_config", "dataset._target_"}));
  EXPECT_EQ(resolved.config.dataset.path, std::vector<std::string>{"a"});
}

TEST_F(LoadTest, PrecedenceOfTheFourLayers) {
  write("my_model.yaml", "hf_path: org/model\nseed: 1\ntrain_iters: 1\nseq_length: 1\nsave_interval: 1\n");
  write("my_trainer.yaml", "train_iters: 2\nseq_length: 2\nsave_interval: 2\n");
  const auto file =
      write("run.yaml",
            "modules:\n  post_trainer:\n    config: my_trainer.yaml\n    model: my_model.yaml\n    overrides:\n"
            "      seq_length: 3\n      save_interval: 3\n");
  const Resolved resolved = load_file(file, {{"save_interval", "4"}});
  EXPECT_EQ(resolved.config.seed, 1U);
  EXPECT_EQ(resolved.config.train_iters, 2);
  EXPECT_EQ(resolved.config.seq_length, 3);
  EXPECT_EQ(resolved.config.save_interval, 4);

  const auto source = [&](std::string_view key) {
    return std::pair(resolved.source_of(key).layer, without_folder(resolved.source_of(key).where));
  };
  EXPECT_EQ(source("seed"), std::pair(Layer::kModelPreset, std::string("my_model.yaml:2:7")));
  EXPECT_EQ(source("train_iters"), std::pair(Layer::kModulePreset, std::string("my_trainer.yaml:1:14")));
  EXPECT_EQ(source("seq_length"), std::pair(Layer::kRunFile, std::string("run.yaml:6:19")));
  EXPECT_EQ(source("save_interval"), std::pair(Layer::kCommandLine, std::string("--save_interval")));
  EXPECT_EQ(source("peft_dim"), std::pair(Layer::kDefault, std::string()));
}

TEST_F(LoadTest, TheCommandLineChoosesPresetsToo) {
  const Resolved resolved = load_run({}, {{"model", "qwen3_0.6b"}, {"exp_name", "other"}, {"workspace", "/w"}});
  EXPECT_EQ(resolved.config.hf_path, "Qwen/Qwen3-0.6B");
  EXPECT_EQ(resolved.config.save, "/w/primus/user/other/checkpoints");
}

TEST_F(LoadTest, TheModelMayBeLeftOutWithAPath) {
  const auto file = write_run({"hf_path: ./checkpoint"}, "framework: megatron_bridge");
  EXPECT_EQ(load_file(file).config.hf_path, "./checkpoint");
  EXPECT_EQ(load_file(file).config.model, "");
  const auto without = write_run({"seed: 1"}, "framework: megatron_bridge");
  EXPECT_EQ(error_of([&] { load_file(without); }),
            "run.yaml:3:5: no model is named; give 'model:' (a preset) or 'hf_path:' in overrides");
  EXPECT_EQ(load_file(without, {{"hf_path", "x"}}).config.hf_path, "x");
}

TEST_F(LoadTest, ModelConfigIsMergedOverThePresets) {
  const RunConfig config =
      load_run({"model_config: {num_hidden_layers: 2}"}, {{"model_config.vocab_size", "512"}}).config;
  EXPECT_NE(config.model_config_json.find("\"num_hidden_layers\": 2,"), std::string::npos) << config.model_config_json;
  EXPECT_NE(config.model_config_json.find("\"vocab_size\": 512,"), std::string::npos);
  EXPECT_NE(config.model_config_json.find("\"hidden_size\": 4096,"), std::string::npos);
}

TEST_F(LoadTest, TakesAFewMilliseconds) {
  const auto file = write_run({"train_iters: 5", "dataset: {path: a.jsonl}"});
  load_file(file);
  const auto start = std::chrono::steady_clock::now();
  constexpr int kLoads = 20;
  for (int i = 0; i < kLoads; ++i) load_file(file);
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  RecordProperty("milliseconds", std::to_string(elapsed.count() / kLoads));
  EXPECT_LT(elapsed.count() / kLoads, 20.0);  // measured: under 2 ms; sanitizers and busy hosts take longer
}

}  // namespace
}  // namespace primus::config
