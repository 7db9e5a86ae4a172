#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <map>
#include <nlohmann/json.hpp>

#include "expect_refused.h"
#include "training_run.h"

/// Whole runs of the real binary.
namespace primus::cli_test {
namespace {

using nlohmann::json;

json last_json(const Outcome& outcome) { return json::parse(lines_of(outcome.out).back()); }

TEST(Run, LeavesWhatTheContractNames) {
  TrainingRun run;
  run.set("dataset.validation_fraction", "0.2");
  run.set("eval_interval", "3");
  run.set("save_interval", "4");
  const Outcome outcome = run.train();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const char* name : {"config.yaml", "metrics.jsonl", "logs/train.log", "tensorboard", "checkpoints/iter_0000004",
                           "checkpoints/iter_0000006", "checkpoints/latest", "adapter/adapter_config.json",
                           "adapter/adapter_model.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(run.directory() / name)) << name;
  }
  int steps = 0;
  int validations = 0;
  for (const std::string& line : lines_of(read(run.directory() / "metrics.jsonl"))) {
    const json row = json::parse(line);
    if (row.contains("validation_loss")) {
      ++validations;
      EXPECT_GT(row.at("validation_tokens").get<int>(), 0);
      continue;
    }
    ++steps;
    EXPECT_EQ(row.at("iteration"), steps);
    for (const char* key : {"loss", "grad_norm", "learning_rate", "tokens", "trained_tokens", "elapsed_ms",
                            "tokens_per_second_per_gpu", "model_tflops_per_gpu", "memory_gib", "skipped"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
  }
  EXPECT_EQ(steps, 6);
  EXPECT_EQ(validations, 2);
}

TEST(Run, TheResolvedConfigurationRunsAgain) {
  TrainingRun run;
  ASSERT_EQ(run.train().status, 0);
  const std::vector<std::string> first = run.steps();
  const std::string again = run.scratch() / "again.yaml";
  std::filesystem::copy_file(run.directory() / "config.yaml", again);
  std::filesystem::remove_all(run.directory());
  const Outcome outcome = run_primus({"direct", "train", "posttrain", "--config", again});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(run.steps(), first);
}

TEST(Run, GoesOnWhenNobodyReadsItsLog) {
  TrainingRun run;
  const Outcome outcome = run.train({}, {.before_exec = [] {
                                      int ends[2];
                                      if (::pipe(ends) != 0) ::_exit(99);
                                      ::close(ends[0]);
                                      ::dup2(ends[1], STDERR_FILENO);
                                    }});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_TRUE(std::filesystem::exists(run.directory() / "adapter/adapter_model.safetensors"));
}

TEST(Run, ReachesItsFirstStepInUnderASecond) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers are slow";
#endif
  double best = 10.0;
  for (int i = 0; i < 3; ++i) {
    TrainingRun run;
    run.set("train_iters", "1");
    run.set("save_interval", "0");
    run.set("export_hf", "false");
    const Outcome outcome = run.train();
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    best = std::min(best, outcome.seconds);
  }
  EXPECT_LT(best, 1.0);
}

class Resume : public testing::TestWithParam<std::vector<std::pair<std::string, std::string>>> {};

TEST_P(Resume, ContinuesBitForBit) {
  TrainingRun whole;
  TrainingRun parts;
  for (TrainingRun* run : {&whole, &parts}) {
    run->set("lr_decay_iters", "6");
    for (const auto& [key, value] : GetParam()) run->set(key, value);
  }
  ASSERT_EQ(whole.train().status, 0);
  for (const char* iterations : {"2", "3", "6"}) {
    const Outcome outcome = parts.train({"--train_iters", iterations});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  EXPECT_EQ(parts.steps(), whole.steps());
  const char* const state = "checkpoints/iter_0000006/rank_00000.safetensors";
  EXPECT_EQ(read(parts.directory() / state), read(whole.directory() / state));
}

INSTANTIATE_TEST_SUITE_P(
    Settings, Resume,
    testing::Values(
        std::vector<std::pair<std::string, std::string>>{},
        std::vector<std::pair<std::string, std::string>>{{"peft", "none"}},
        std::vector<std::pair<std::string, std::string>>{{"peft_dropout", "0.2"}, {"packed_sequence", "true"}},
        std::vector<std::pair<std::string, std::string>>{{"peft", "none"}, {"precision_config", "bf16_mixed"}},
        std::vector<std::pair<std::string, std::string>>{{"peft", "none"},
                                                         {"precision_config", "bf16_mixed"},
                                                         {"main_params_dtype", "bf16"},
                                                         {"exp_avg_dtype", "bf16"},
                                                         {"exp_avg_sq_dtype", "bf16"},
                                                         {"main_grads_dtype", "bf16"}},
        std::vector<std::pair<std::string, std::string>>{{"precision_config", "fp16_mixed"}}));

TEST(ResumeRefused, WhenSettingsThatMatterDiffer) {
  TrainingRun run;
  ASSERT_EQ(run.train({"--train_iters", "2"}).status, 0);
  expect_refused(run.train({"--global_batch_size", "8"}), 2, {"global_batch_size was 4 and is 8", "exp_name"});
}

TEST(ResumeRefused, BeforeTheDataAreRead) {
  TrainingRun run;
  const std::string rows = run.scratch() / "rows.jsonl";
  write(rows, read(reference("qwen3") / "data.jsonl"));
  run.set("dataset.path", rows);
  ASSERT_EQ(run.train({"--train_iters", "2"}).status, 0);
  write(rows, "no JSON\n");
  expect_refused(run.train({"--peft_dim", "2"}), 2, {"peft_dim was 32 and is 2"});
  expect_refused(run.train({"--load", run.scratch() / "nothing"}), 2, {"load: ", "no complete checkpoint"});
  expect_refused(run.train(), 2, {"rows.jsonl:1: broken row"});
}

TEST(ResumeRefused, WhenTheBaseIsAnother) {
  TrainingRun run;
  const std::filesystem::path copy = run.scratch().path() / "model";
  std::filesystem::copy(reference("qwen3") / "hf", copy);
  run.set("hf_path", copy.string());
  ASSERT_EQ(run.train({"--train_iters", "2"}).status, 0);
  std::string weights = read(copy / "model.safetensors");
  weights[weights.size() - 100] = static_cast<char>(weights[weights.size() - 100] ^ 1);
  for (std::size_t i = weights.size() / 2; i < weights.size(); i += 512) weights[i] = static_cast<char>(weights[i] ^ 1);
  write(copy / "model.safetensors", weights);
  const Outcome outcome = run.train();
  EXPECT_EQ(outcome.status, 2) << outcome.err;
}

TEST(ResumeRefused, WhenTheRowsAreOthers) {
  TrainingRun run;
  const std::string rows = run.scratch() / "rows.jsonl";
  const std::string all = read(reference("qwen3") / "data.jsonl");
  write(rows, all);
  run.set("dataset.path", rows);
  ASSERT_EQ(run.train({"--train_iters", "2"}).status, 0);
  const std::string before = read(run.directory() / "config.yaml");
  write(rows, all.substr(all.find('\n') + 1));
  expect_refused(run.train(), 2, {"the training data was \"32 rows, ", "and is \"31 rows, ", "exp_name"});
  EXPECT_EQ(read(run.directory() / "config.yaml"), before) << "what the run's checkpoints were made with";
}

TEST(Resume, GoesOnInFp16WithItsFirstLossScale) {
  TrainingRun run;
  ASSERT_EQ(run.train({"--train_iters", "2"}).status, 0);
  ASSERT_EQ(run.train({"--train_iters", "3", "--precision_config", "fp16_mixed"}).status, 0);
  const json state = json::parse(read(run.directory() / "checkpoints/iter_0000003/state.json"));
  EXPECT_EQ(state.at("numbers").at("loss_scale"), 65536.0);
}

TEST(Run, RemovesWhatAKilledExportLeft) {
  const TrainingRun run;
  const std::filesystem::path left = run.directory() / "adapter.partial-999999999";
  std::filesystem::create_directories(left);
  const std::filesystem::path other = run.directory() / "notes.partial-999999999";
  std::filesystem::create_directories(other);
  ASSERT_EQ(run.train().status, 0);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(other));
}

TEST(Run, OneAtATimeInAFolder) {
  TrainingRun run;
  run.set("train_iters", "400");
  RunOptions options;
  options.while_running = [&](int pid) {
    for (int i = 0; i < 2000 && run.steps().size() < 3; ++i) ::usleep(5000);
    expect_refused(run.train(), 2, {"another run is at work", "exp_name"});
    ::kill(pid, SIGINT);
  };
  const Outcome outcome = run.train({}, options);
  EXPECT_EQ(outcome.status, 130) << outcome.err;
  EXPECT_NE(outcome.err.find("a second time ends at once"), std::string::npos) << outcome.err;
}

TEST(Run, GoesOnWhenThePipeBehindItsLogIsClosed) {
  const TrainingRun run;
  RunOptions options;
  options.before_exec = [] {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) ::_exit(1);
    ::close(ends[0]);
    ::dup2(ends[1], STDERR_FILENO);
  };
  EXPECT_EQ(run.train({}, options).status, 0);
  EXPECT_EQ(run.steps().size(), 6U);
}

struct Signal {
  int number;
  int status;
  const char* name;
};
class Interrupt : public testing::TestWithParam<Signal> {};

TEST_P(Interrupt, SavesAndGoesOn) {
  TrainingRun whole;
  whole.set("train_iters", "40");
  ASSERT_EQ(whole.train().status, 0);

  TrainingRun run;
  run.set("train_iters", "40");
  RunOptions options;
  options.while_running = [&](int pid) {
    for (int i = 0; i < 2000 && run.steps().size() < 3; ++i) ::usleep(5000);
    ::kill(pid, GetParam().number);
  };
  const Outcome outcome = run.train({}, options);
  ASSERT_EQ(outcome.status, GetParam().status) << outcome.err;
  const std::size_t done = run.steps().size();
  EXPECT_GE(done, 3U);
  EXPECT_LT(done, 40U);
  EXPECT_TRUE(std::filesystem::exists(run.directory() / "checkpoints/latest"));
  ASSERT_EQ(run.train().status, 0);
  EXPECT_EQ(run.steps(), whole.steps());
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, testing::Values(Signal{SIGINT, 130, "Int"}, Signal{SIGTERM, 143, "Term"}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(NotFinite, StepsAreSkippedCountedAndEndTheRun) {
  TrainingRun run;
  run.set("train_iters", "40");
  run.set("peft", "none");
  run.set("lr_warmup_iters", "0");
  run.set("clip_grad", "0");
  run.set("finetune_lr", "1.0e30");
  const Outcome outcome = run.train();
  EXPECT_EQ(outcome.status, 3) << outcome.err;
  EXPECT_NE(outcome.err.find("no finite loss or gradient"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("finetune_lr"), std::string::npos) << outcome.err;
  const json last = json::parse(lines_of(read(run.directory() / "metrics.jsonl")).back());
  EXPECT_EQ(last.at("skipped"), 1);
}

TEST(DryRun, DoesNothing) {
  const TrainingRun run;
  write(run.scratch() / "run.yaml", run.config());
  const Outcome outcome =
      run_primus({"--dry-run", "direct", "train", "posttrain", "--config", run.scratch() / "run.yaml"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("memory:"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(run.directory()));
}

/// One configuration serves hosts with and without a GPU.
TEST(DryRun, OffloadingOnTheCpuIsSaidToDoNothing) {
  const Outcome outcome = run_primus({"--dry-run", "direct", "benchmark", "train", "--model", "smollm2_135m",
                                      "--device", "cpu", "--cpu_offloading", "true"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("cpu_offloading has no effect on the CPU"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.out.find("host memory"), std::string::npos) << outcome.out;
}

/// What is said of the disk is what the same run then writes, but for names.
TEST(DryRun, SaysWhatWillBeWritten) {
  for (const char* peft : {"lora", "none"}) {
    TrainingRun run;
    run.set("peft", peft);
    run.set("save_interval", "4");
    const std::string said = run.train({"--dry-run"}).out;
    ASSERT_EQ(run.train().status, 0);
    const auto kib = [&](const char* file) { return std::filesystem::file_size(run.directory() / file) / 1024.0; };
    const double checkpoint = kib("checkpoints/iter_0000006/rank_00000.safetensors");
    const bool is_lora = std::string(peft) == "lora";
    const double result = kib(is_lora ? "adapter/adapter_model.safetensors" : "hf/model.safetensors");
    const std::size_t at = said.find("disk: 2 checkpoints of ");
    ASSERT_NE(at, std::string::npos) << said;
    double mib = 0.0;
    ASSERT_EQ(std::sscanf(said.c_str() + at, "disk: 2 checkpoints of %lf MiB", &mib), 1) << said;
    EXPECT_NEAR(mib * 1024.0, checkpoint, 60.0 + 52.0) << "one decimal of a MiB, and the header's names";
    EXPECT_GT(result, 500.0);
    EXPECT_NE(said.find(is_lora ? ", adapter/ 600.0 KiB: " : ", hf/ 1.4 MiB: "), std::string::npos) << said;
  }
}

TEST(DryRun, SaysWhatIsComputedAgain) {
  const std::vector<std::string> benchmark{"--dry-run", "direct",  "benchmark",
                                           "train",     "--model", "smollm2_135m",
                                           "--device",  "cpu",     "--recompute_granularity"};
  const auto said = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = benchmark;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_primus(arguments).out;
  };
  EXPECT_NE(said({"null"}).find("computed again in backward: nothing\n"), std::string::npos);
  EXPECT_NE(said({"full"}).find("computed again in backward: all of 30 layers\n"), std::string::npos);
  EXPECT_NE(said({"selective"}).find("computed again in backward: attention of 30 layers\n"), std::string::npos);
  // on the CPU nothing is offloaded: attention is computed again with the rest
  EXPECT_NE(said({"full", "--cpu_offloading", "true"}).find("all of 30 layers\n"), std::string::npos);
}

TEST(Run, SaysWhatIsComputedAgain) {
  TrainingRun run;
  run.set("train_iters", "1");
  run.set("recompute_granularity", "full");
  const Outcome outcome = run.train();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("computed again in backward: all of 3 layers"), std::string::npos) << outcome.err;
}

class Results : public testing::TestWithParam<const char*> {};

/// The weights of a run, by every way to them, give the same validation loss.
TEST_P(Results, TrainedExportedAndMergedWeightsAreTheSame) {
  TrainingRun run;
  run.set("peft", GetParam());
  run.set("dataset.validation_fraction", "0.3");
  ASSERT_EQ(run.train().status, 0);
  const std::string yaml = run.scratch() / "run.yaml";
  const json metrics = json::parse(lines_of(read(run.directory() / "metrics.jsonl")).back());
  const double trained = metrics.at("validation_loss");

  const auto loss_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"eval", "--config", yaml, "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_primus(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return last_json(outcome).at("validation_loss").get<double>();
  };
  EXPECT_NE(loss_of({}), trained);
  EXPECT_EQ(loss_of({"--checkpoint", (run.directory() / "checkpoints").string()}), trained);
  EXPECT_EQ(loss_of({"--checkpoint", run.directory().string()}), trained);

  const bool lora = std::string(GetParam()) == "lora";
  const std::string exported = run.scratch() / "exported";
  ASSERT_EQ(run_primus({"export", "--checkpoint", (run.directory() / "checkpoints/iter_0000006").string(), "--output",
                        exported})
                .status,
            0);
  EXPECT_EQ(loss_of({"--checkpoint", exported}), trained);
  EXPECT_EQ(loss_of({"--checkpoint", (run.directory() / (lora ? "adapter" : "hf")).string()}), trained);
  if (!lora) return;

  const std::string merged = run.scratch() / "merged";
  ASSERT_EQ(
      run_primus({"merge", "--model", (reference("qwen3") / "hf").string(), "--adapter", exported, "--output", merged})
          .status,
      0);
  // merged weights are rounded once more (f32), and the sum has another order
  EXPECT_NEAR(loss_of({"--checkpoint", merged}), trained, 1e-5 * trained);
  TrainingRun more;
  more.set("peft_adapter", exported);
  more.set("dataset.validation_fraction", "0.3");
  more.set("train_iters", "1");
  more.set("finetune_lr", "0.0");
  ASSERT_EQ(more.train().status, 0);
  const json continued = json::parse(lines_of(read(more.directory() / "metrics.jsonl")).back());
  EXPECT_EQ(continued.at("validation_loss").get<double>(), trained);
}

INSTANTIATE_TEST_SUITE_P(Methods, Results, testing::Values("lora", "none"));

TEST(ConfigShow, GuideConfigurationsResolve) {
  const std::filesystem::path configs = std::filesystem::path(PRIMUS_SOURCE_DIR) / "examples/megatron_bridge/configs";
  for (const char* name : {"MI355X/qwen3_32b_sft_posttrain.yaml", "MI355X/qwen3_32b_lora_posttrain.yaml",
                           "MI300X/qwen3_32b_sft_posttrain.yaml", "MI300X/qwen3_32b_lora_posttrain.yaml"}) {
    const Outcome outcome = run_primus({"config", "show", "--config", (configs / name).string(), "--explain"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("seq_length: 8192"), std::string::npos) << outcome.out;
  }
}

TEST(Benchmark, TakesAMicroBatchThatTheGlobalBatchIsNoMultipleOf) {
  const Outcome outcome = run_primus({"--dry-run", "direct", "benchmark", "train", "--model", "smollm2_135m",
                                      "--micro_batch_size", "3", "--device", "cpu"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST(Benchmark, MeasuresProductsAlone) {
  for (const char* peft : {"none", "lora"}) {
    const Outcome outcome = run_primus({"direct", "benchmark", "gemm", "--model", "smollm2_135m", "--seq_length", "64",
                                        "--micro_batch_size", "1", "--peft", peft, "--model_config.vocab_size", "512",
                                        "--milliseconds", "1", "--json", "--device", "cpu"});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const json line = last_json(outcome);
    std::map<std::string, int> passes;
    for (const json& operation : line.at("operations")) {
      EXPECT_GT(operation.at("us").get<double>(), 0.0);
      EXPECT_GT(operation.at("tflops").get<double>(), 0.0);
      ++passes[operation.at("pass")];
    }
    EXPECT_EQ(passes["forward"], 5);  // qkv, o, gate_up, down, lm_head
    EXPECT_EQ(passes["input gradient"], 5);
    const bool is_lora = std::string(peft) == "lora";
    EXPECT_EQ(passes["weight gradient"], is_lora ? 0 : 5);
    EXPECT_EQ(passes["dx += du·A"], is_lora ? 4 : 0);
  }
}

TEST(Benchmark, MeasuresAttentionAlone) {
  const Outcome outcome = run_primus({"direct", "benchmark", "attention", "--model", "smollm2_135m", "--seq_length",
                                      "50", "--micro_batch_size", "2", "--milliseconds", "1", "--device", "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const char* word : {"forward", "backward", "2 x 50, 9/3 heads of 64", "TFLOP/s"}) {
    EXPECT_NE(outcome.out.find(word), std::string::npos) << outcome.out;
  }
}

TEST(Benchmark, NeedsAModel) {
  for (const char* what : {"train", "gemm", "attention"}) {
    const Outcome outcome = run_primus({"direct", "benchmark", what});
    EXPECT_EQ(outcome.status, 2) << what;
    EXPECT_NE(outcome.err.find("name a model"), std::string::npos) << outcome.err;
  }
}

TEST(Benchmark, MeasuresWithoutFiles) {
  const Outcome outcome = run_primus({"direct", "benchmark", "train", "--model", "smollm2_135m", "--seq_length", "64",
                                      "--micro_batch_size", "1", "--model_config.num_hidden_layers", "1", "--steps",
                                      "1", "--warmup", "0", "--json", "--device", "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json line = last_json(outcome);
  EXPECT_GT(line.at("tokens_per_second").get<double>(), 0.0);
  EXPECT_GT(line.at("fraction_of_ceiling").get<double>(), 0.0);
  EXPECT_GT(line.at("planned_gib").get<double>(), 0.0);
  EXPECT_TRUE(std::isfinite(line.at("loss").get<double>()));
}

TEST(Benchmark, TrainsRowsOfAFile) {
  const Scratch scratch;
  std::string rows;
  for (int row = 0; row < 8; ++row)
    rows += R"({"input_ids": [1, 2, 3, 4, 5, 6, 7, 8], "labels": [-100, -100, -100, -100, 5, 6, 7, 8]})"
            "\n";
  const std::string file = scratch / "rows.jsonl";
  write(file, rows);
  const Outcome outcome = run_primus({"direct",
                                      "benchmark",
                                      "train",
                                      "--model",
                                      "smollm2_135m",
                                      "--dataset.path",
                                      file,
                                      "--packed_sequence",
                                      "true",
                                      "--seq_length",
                                      "64",
                                      "--micro_batch_size",
                                      "1",
                                      "--model_config.num_hidden_layers",
                                      "1",
                                      "--steps",
                                      "1",
                                      "--warmup",
                                      "0",
                                      "--json",
                                      "--device",
                                      "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json line = last_json(outcome);
  EXPECT_EQ(line.at("tokens"), 64.0);
  EXPECT_EQ(line.at("trained_tokens"), 32.0);
  EXPECT_EQ(line.at("packing"), 1.0);
  EXPECT_DOUBLE_EQ(line.at("trained_tokens_per_second").get<double>(),
                   line.at("tokens_per_second").get<double>() / 2.0);
}

}  // namespace
}  // namespace primus::cli_test
