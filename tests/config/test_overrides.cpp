#include "support.h"

namespace primus::config {
namespace {

using OverridesTest = ConfigTest;

TEST_F(OverridesTest, ArgumentsInEveryForm) {
  EXPECT_EQ(parse_overrides({"--train_iters", "5", "--finetune_lr=1e-5", "--dataset.path", "a,b", "--min_lr", "-1",
                             "--exp_name=--odd", "--train-iters", "6", "--sequence_parallel", "--packed_sequence"}),
            (std::vector<Override>{{"train_iters", "5"},
                                   {"finetune_lr", "1e-5"},
                                   {"dataset.path", "a,b"},
                                   {"min_lr", "-1"},
                                   {"exp_name", "--odd"},
                                   {"train_iters", "6"},
                                   {"sequence_parallel", "true"},
                                   {"packed_sequence", "true"}}));
  EXPECT_TRUE(parse_overrides({}).empty());
}

TEST_F(OverridesTest, RefusesOtherArguments) {
  EXPECT_EQ(error_of([] { parse_overrides({"train_iters=5"}); }),
            "unexpected argument 'train_iters=5'; settings are written --key value or --key=value");
  EXPECT_EQ(error_of([] { parse_overrides({"--"}); }),
            "unexpected argument '--'; settings are written --key value or --key=value");
  EXPECT_EQ(error_of([] {
              parse_overrides({"--train_iters", "--seed", "1"});
            }),
            "--train_iters needs a value: --train_iters integer ≥ 1");
  EXPECT_EQ(error_of([] { parse_overrides({"--train_itres"}); }),
            "--train_itres: unknown key 'train_itres'; did you mean 'train_iters'?");
}

TEST_F(OverridesTest, ValuesTakeTheTypeOfTheirKey) {
  const RunConfig config = load_run({"peft_dim: 8"}, {{"train_iters", "5"},
                                                      {"train_iters", "6"},
                                                      {"finetune_lr", "1e-5"},
                                                      {"lr_decay_iters", "null"},
                                                      {"packed_sequence", "True"},
                                                      {"dataset.path", "a.jsonl, b.jsonl"},
                                                      {"dataset.weights", "[1, 2]"},
                                                      {"dataset.validation_path", "[\"x, y.jsonl\"]"},
                                                      {"dataset.columns", "{prompt: q}"},
                                                      {"dataset.columns.completion", "a"},
                                                      {"peft_target_modules", "linear_qkv,o_proj"},
                                                      {"lr", "2e-5"},
                                                      {"user_name", "012"}})
                               .config;
  EXPECT_EQ(config.train_iters, 6);
  EXPECT_EQ(config.finetune_lr, 2e-5);
  EXPECT_EQ(config.lr_decay_iters, 6);
  EXPECT_TRUE(config.packed_sequence);
  EXPECT_EQ(config.dataset.path, (std::vector<std::string>{"a.jsonl", "b.jsonl"}));
  EXPECT_EQ(config.dataset.weights, (std::vector<double>{1.0, 2.0}));
  EXPECT_EQ(config.dataset.validation_path, std::vector<std::string>{"x, y.jsonl"});
  EXPECT_EQ(config.dataset.columns, (std::map<std::string, std::string>{{"completion", "a"}, {"prompt", "q"}}));
  EXPECT_EQ(config.peft_target_modules, (std::vector<std::string>{"q_proj", "k_proj", "v_proj", "o_proj"}));
  EXPECT_EQ(config.peft_dim, 8);
  EXPECT_EQ(config.user_name, "012");
}

TEST_F(OverridesTest, ErrorsNameTheOption) {
  const auto error = [&](const Override& override) { return run_error({}, {override}); };
  EXPECT_EQ(error({"train_itres", "5"}), "--train_itres: unknown key 'train_itres'; did you mean 'train_iters'?");
  EXPECT_EQ(error({"learning_rate", "5"}), "--learning_rate: unknown key 'learning_rate'; did you mean 'finetune_lr'?");
  EXPECT_EQ(error({"dataset.pth", "a"}), "--dataset.pth: unknown key 'dataset.pth'; did you mean 'dataset.path'?");
  EXPECT_EQ(error({"dataset", "a"}),
            "--dataset: 'dataset' is a group of keys; give one of them, for example --dataset.path");
  EXPECT_EQ(error({"train_iters", "x"}), "--train_iters: train_iters is the text 'x'; expected an integer ≥ 1");
  EXPECT_EQ(error({"train_iters", ""}), "--train_iters: train_iters is nothing (null); expected an integer ≥ 1");
  EXPECT_EQ(error({"peft", "lroa"}),
            "--peft: peft is the text 'lroa'; expected one of none, lora; did you mean 'lora'?");
  EXPECT_EQ(error({"dataset.weights", "1,x"}),
            "--dataset.weights: dataset.weights[1] is the text 'x'; expected a number ≥ 0");
  EXPECT_TRUE(error({"dataset.path", "[a"}).starts_with("--dataset.path:")) << error({"dataset.path", "[a"});
}

TEST_F(OverridesTest, VariablesAreTheShellsBusiness) {
  EXPECT_EQ(load_run({}, {{"exp_name", "${HOME}"}}).config.exp_name, "${HOME}");
}

}  // namespace
}  // namespace primus::config
