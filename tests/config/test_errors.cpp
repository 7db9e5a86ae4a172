#include "support.h"

namespace primus::config {
namespace {

/// Wrong input: the message names place, key, what was found and what to write.
using ErrorTest = ConfigTest;

TEST_F(ErrorTest, UnknownKeysNameTheNearest) {
  EXPECT_EQ(run_error({"train_itres: 5"}), "run.yaml:5:7: unknown key 'train_itres'; did you mean 'train_iters'?");
  EXPECT_EQ(run_error({"seed: 1", "dataset:", "  pth: a"}),
            "run.yaml:7:9: unknown key 'dataset.pth'; did you mean 'dataset.path'?");
  EXPECT_EQ(run_error({"datset: {path: a}"}), "run.yaml:5:7: unknown key 'datset'; did you mean 'dataset'?");
  EXPECT_EQ(run_error({"completely_different_thing: 1"}), "run.yaml:5:7: unknown key 'completely_different_thing'");
  EXPECT_EQ(run_error({"dataset.path: a"}),
            "run.yaml:5:7: unknown key 'dataset.path'; write it nested: dataset: {path: …}");
  EXPECT_EQ(run_error({"num_layers: 4"}), "run.yaml:5:7: unknown key 'num_layers'");
}

TEST_F(ErrorTest, NamesOfOtherTrainersAreUnderstood) {
  EXPECT_EQ(run_error({"learning_rate: 1e-5"}),
            "run.yaml:5:7: unknown key 'learning_rate'; did you mean 'finetune_lr'?");
  EXPECT_EQ(run_error({"per_device_train_batch_size: 1"}),
            "run.yaml:5:7: unknown key 'per_device_train_batch_size'; did you mean 'micro_batch_size'?");
  EXPECT_EQ(run_error({"lora_r: 8"}), "run.yaml:5:7: unknown key 'lora_r'; did you mean 'peft_dim'?");
  EXPECT_EQ(run_error({"dataset: {val_size: 0.1}"}),
            "run.yaml:5:17: unknown key 'dataset.val_size'; did you mean 'dataset.validation_fraction'?");
}

TEST_F(ErrorTest, KeysInTheWrongPlaceSayWhereTheyBelong) {
  const auto top = write("top.yaml", "train_iters: 5\nmodules: {post_trainer: {model: qwen3_8b}}\n");
  EXPECT_EQ(error_of([&] { load_file(top); }),
            "top.yaml:1:1: unknown key 'train_iters' here; it belongs under modules.post_trainer.overrides");
  const auto flat = write("flat.yaml", "hf_path: x\ntrain_iters: 5\n");
  EXPECT_EQ(error_of([&] { load_file(flat); }),
            "flat.yaml:1:1: unknown key 'hf_path' here; it belongs under modules.post_trainer.overrides");
  const auto module = write("module.yaml", "modules:\n  post_trainer:\n    modle: qwen3_8b\n");
  EXPECT_EQ(error_of([&] { load_file(module); }), "module.yaml:3:5: unknown key 'modle'; did you mean 'model'?");
  EXPECT_EQ(run_error({"exp_name: x"}), "run.yaml:5:7: unknown key 'exp_name' here; it belongs at the top of the file");
  EXPECT_EQ(run_error({"model: qwen3_8b"}),
            "run.yaml:5:7: unknown key 'model' here; it belongs under modules.post_trainer");
}

TEST_F(ErrorTest, StructureMustBeThere) {
  const auto error = [&](std::string_view text) {
    const auto file = write("s.yaml", text);
    return error_of([&] { load_file(file); });
  };
  EXPECT_EQ(error("work_group: a\n"),
            "s.yaml:1:1: 'modules:' is missing; the run is described under modules.post_trainer");
  EXPECT_EQ(error("# nothing\n"), "s.yaml:1:1: 'modules:' is missing; the run is described under modules.post_trainer");
  EXPECT_EQ(error("modules:\n  pre_trainer: {}\n"),
            "s.yaml:2:3: unknown module 'pre_trainer'; the one that runs is 'post_trainer'");
  EXPECT_EQ(error("modules: {}\n"), "s.yaml:1:10: modules.post_trainer is missing");
  EXPECT_EQ(error("modules: {post_trainer: {overrides: [1]}}\n"),
            "s.yaml:1:37: overrides is a list; expected a map of keys");
  EXPECT_EQ(error("modulse: {}\n"), "s.yaml:1:1: unknown key 'modulse'; did you mean 'modules'?");
}

TEST_F(ErrorTest, DoubledKeys) {
  EXPECT_EQ(run_error({"seed: 1", "train_iters: 5", "seed: 2"}),
            "run.yaml:7:7: the key 'seed' is doubled; it was given before at line 5, column 7");
  EXPECT_EQ(run_error({"hf_path: a", "pretrained_checkpoint: b"}),
            "run.yaml:6:7: 'pretrained_checkpoint' and 'hf_path' (line 5) name the same setting; keep one");
}

TEST_F(ErrorTest, WrongTypesSayWhatWasFound) {
  EXPECT_EQ(run_error({"train_iters: many"}), "run.yaml:5:20: train_iters is the text 'many'; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: 1.5"}), "run.yaml:5:20: train_iters is 1.5; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: 1e3"}), "run.yaml:5:20: train_iters is 1e3; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: 0x10"}), "run.yaml:5:20: train_iters is the text '0x10'; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: 1_000"}),
            "run.yaml:5:20: train_iters is the text '1_000'; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: \"200\""}),
            "run.yaml:5:20: train_iters is the quoted text \"200\"; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: [1]"}), "run.yaml:5:20: train_iters is a list; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: null"}), "run.yaml:5:7: train_iters is nothing (null); expected an integer ≥ 1");
  EXPECT_EQ(run_error({"train_iters: 99999999999999999999"}),
            "run.yaml:5:20: train_iters is 99999999999999999999; expected an integer that fits 64 bits");
  EXPECT_EQ(run_error({"train_iters: 3000000000"}), "run.yaml:5:20: train_iters is too large: 3000000000");
  EXPECT_EQ(run_error({"finetune_lr: fast"}), "run.yaml:5:20: finetune_lr is the text 'fast'; expected a number ≥ 0");
  EXPECT_EQ(run_error({"finetune_lr: .inf"}), "run.yaml:5:20: finetune_lr is the text '.inf'; expected a number ≥ 0");
  EXPECT_EQ(run_error({"finetune_lr: nan"}), "run.yaml:5:20: finetune_lr is the text 'nan'; expected a number ≥ 0");
  EXPECT_EQ(run_error({"finetune_lr: 1e999"}),
            "run.yaml:5:20: finetune_lr is 1e999; expected a number within double precision");
  EXPECT_EQ(run_error({"packed_sequence: yes"}),
            "run.yaml:5:24: packed_sequence is the text 'yes'; expected true or false");
  EXPECT_EQ(run_error({"packed_sequence: 1"}), "run.yaml:5:24: packed_sequence is 1; expected true or false");
  EXPECT_EQ(run_error({"hf_path: {a: b}"}), "run.yaml:5:16: hf_path is a map; expected text");
  EXPECT_EQ(run_error({"hf_path: ''"}), "run.yaml:5:16: hf_path is empty");
  EXPECT_EQ(run_error({"dataset: a.jsonl"}), "run.yaml:5:16: dataset is a group of keys; expected a map");
  EXPECT_EQ(run_error({"dataset: {path: [a, [b]]}"}), "run.yaml:5:27: dataset.path[1] is a list; expected text");
  EXPECT_EQ(run_error({"dataset: {weights: [1, x]}"}),
            "run.yaml:5:30: dataset.weights[1] is the text 'x'; expected a number ≥ 0");
  EXPECT_EQ(run_error({"dataset: {columns: [a]}"}),
            "run.yaml:5:26: dataset.columns is a list; expected a map of names");
  EXPECT_EQ(run_error({"model_config: 5"}), "run.yaml:5:21: model_config is 5; expected a map");
}

TEST_F(ErrorTest, ValuesOutOfRange) {
  EXPECT_EQ(run_error({"micro_batch_size: 0"}), "run.yaml:5:25: micro_batch_size is 0; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"seq_length: -5"}), "run.yaml:5:19: seq_length is -5; expected an integer ≥ 1");
  EXPECT_EQ(run_error({"adam_beta2: 1.0"}), "run.yaml:5:19: adam_beta2 is 1.0; expected a number in [0, 1)");
  EXPECT_EQ(run_error({"adam_eps: 0"}), "run.yaml:5:17: adam_eps is 0; expected a number > 0");
  EXPECT_EQ(run_error({"peft_dropout: 1"}), "run.yaml:5:21: peft_dropout is 1; expected a number in [0, 1)");
  EXPECT_EQ(run_error({"seed: -1"}), "run.yaml:5:13: seed is -1; expected an integer ≥ 0");
}

TEST_F(ErrorTest, NamesStayBelowTheWorkspace) {
  const auto error_with = [&](const std::string& line) {
    return error_of([&] { load_file(write("run.yaml", line + "\nmodules: {post_trainer: {model: qwen3_8b}}\n")); });
  };
  const std::string expected = "; expected the name of a folder, or names joined by '/', none of which is '.' or '..'";
  variables_["NAME"] = "../x";
  EXPECT_EQ(error_with("exp_name: a/../../x"), "run.yaml:1:11: exp_name is the text 'a/../../x'" + expected);
  EXPECT_EQ(error_with("work_group: /etc"), "run.yaml:1:13: work_group is the text '/etc'" + expected);
  EXPECT_EQ(error_with("user_name: ${NAME}"), "run.yaml:1:12: user_name is the text '../x'" + expected);
  EXPECT_EQ(error_with("exp_name: ''"), "run.yaml:1:11: exp_name is the quoted text \"\"" + expected);
  EXPECT_EQ(error_with(R"(exp_name: "..\0")"), R"(run.yaml:1:11: exp_name is the quoted text "..\u0000")" + expected);
  for (const char* fine : {"exp_name: a/b", "exp_name: ..a", "exp_name: a b.c/", "exp_name: ü", "exp_name: 12"}) {
    EXPECT_EQ(error_with(fine), "no error") << fine;
  }
}

TEST_F(ErrorTest, ChoicesNameTheNearest) {
  EXPECT_EQ(run_error({"peft: lroa"}),
            "run.yaml:5:13: peft is the text 'lroa'; expected one of none, lora; did you mean 'lora'?");
  EXPECT_EQ(
      run_error({"precision_config: bf16-mixed"}),
      "run.yaml:5:25: precision_config is the text 'bf16-mixed'; expected one of bf16_mixed, fp16_mixed, fp32; did "
      "you mean 'bf16_mixed'?");
  EXPECT_EQ(run_error({"device: tpu"}),
            "run.yaml:5:15: device is the text 'tpu'; expected one of auto, cpu, cuda, hip; "
            "did you mean 'cpu'?");
  EXPECT_EQ(
      run_error({"peft_target_modules: [q_proj, k_porj]"}),
      "run.yaml:5:37: peft_target_modules: unknown module 'k_porj'; did you mean 'k_proj'?; known: q_proj, k_proj, "
      "v_proj, o_proj, gate_proj, up_proj, down_proj, all-linear, linear_fc1, linear_fc1_gate, linear_fc1_up, "
      "linear_fc2, linear_k, linear_proj, linear_q, linear_qkv, linear_v");
  EXPECT_EQ(
      run_error({"recompute_granularity: selective", "recompute_modules: [core_atn]"}),
      "run.yaml:6:27: recompute_modules is the text 'core_atn'; expected one of core_attn, layernorm, mlp_act, mlp; "
      "did you mean 'core_attn'?");
}

TEST_F(ErrorTest, PresetsAreCheckedAsStrictly) {
  write("my_model.yaml", "hf_path: a\nhiden_size: 3\n");
  const auto file = write_run({}, "model: my_model.yaml");
  EXPECT_EQ(error_of([&] { load_file(file); }), "my_model.yaml:2:1: unknown key 'hiden_size'");
}

TEST_F(ErrorTest, AMissingFileIsNamed) {
  EXPECT_NE(error_of([&] { load_file(folder_ / "gone.yaml"); }).find("gone.yaml"), std::string::npos);
}

}  // namespace
}  // namespace primus::config
