#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "expect_refused.h"
#include "training_run.h"

/// What a user can do wrong, tried on the real binary: the exit status, and a message that says where, what and how.
namespace primus::cli_test {
namespace {

TEST(WrongConfiguration, UnknownKeyNamesTheNearest) {
  TrainingRun run;
  run.add_line("train_itres: 5");
  expect_refused(run.train(), 2, {"run.yaml:", "train_itres", "did you mean 'train_iters'?"});
  EXPECT_FALSE(std::filesystem::exists(run.directory()));
}

TEST(WrongConfiguration, DoubledKeyNamesBothPlaces) {
  TrainingRun run;
  run.add_line("train_iters: 5");
  expect_refused(run.train(), 2, {"run.yaml:", "train_iters"});
}

TEST(WrongConfiguration, MistypedValueSaysWhatIsExpected) {
  TrainingRun run;
  run.set("train_iters", "many");
  expect_refused(run.train(), 2, {"run.yaml:", "train_iters", "many", "expected an integer"});
}

TEST(WrongConfiguration, OverrideIsCheckedToo) {
  const TrainingRun run;
  expect_refused(run.train({"--micro_batch_sise", "2"}), 2, {"--micro_batch_sise", "micro_batch_size"});
  expect_refused(run.train({"--micro_batch_size", "3"}), 2, {"global_batch_size", "micro_batch_size"});
}

TEST(WrongConfiguration, OffloadingIsTrueOrFalse) {
  const TrainingRun run;
  expect_refused(run.train({"--cpu_offloading", "2"}), 2, {"--cpu_offloading", "expected true or false"});
}

TEST(WrongConfiguration, GlobalOptionsMayStandBehindTheCommand) {
  const TrainingRun run;
  const Outcome outcome = run.train({"--dry-run", "--train_iters", "2"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("would write to: "), std::string::npos) << outcome.out;
  EXPECT_FALSE(std::filesystem::exists(run.directory()));
}

TEST(WrongConfiguration, MissingFile) {
  expect_refused(run_primus({"direct", "train", "posttrain", "--config", "no/such.yaml"}), 2, {"no/such.yaml"});
}

TEST(WrongConfiguration, LongerThanTheModelsPositions) {
  TrainingRun run;
  run.set("seq_length", "4096");
  expect_refused(run.train(), 2, {"seq_length", "4096", "512"});
}

TEST(WrongConfiguration, NamesDoNotLeadOutOfTheWorkspace) {
  const TrainingRun run;
  const std::string allowed = "expected the name of a folder, or names joined by '/', none of which is '.' or '..'";
  const auto found = [](const std::string& key, const std::string& name) {
    return "--" + key + ": " + key + " is the text '" + name + "'; ";
  };
  for (const char* key : {"exp_name", "user_name", "work_group"}) {
    for (const char* name : {"a/../../x", "..", ".", "/tmp/x", "../x", "a/.."}) {
      expect_refused(run.train({std::string("--") + key, name}), 2, {found(key, name) + allowed});
    }
  }
  EXPECT_FALSE(std::filesystem::exists(run.scratch() / "out"));
  const Outcome nested = run.train({"--exp_name", "sweep/..3", "--train_iters", "1"});
  EXPECT_EQ(nested.status, 0) << nested.err;
  EXPECT_TRUE(std::filesystem::exists(run.scratch() / "out/team/user/sweep/..3/config.yaml"));
}

TEST(WrongConfiguration, NoTargetModules) {
  const TrainingRun run;
  expect_refused(run.train({"--peft_target_modules", "[]"}), 2, {"peft_target_modules", "null"});
}

TEST(WrongConfiguration, SeveralRanksAreRefusedInOneSentence) {
  TrainingRun run;
  run.set("tensor_model_parallel_size", "2");
  expect_refused(run.train(), 2, {"tensor_model_parallel_size"});
}

/// Runs that no host has the memory for, and what is proposed instead.
class DoesNotFit : public testing::Test {
 protected:
  static Outcome benchmark(const std::vector<std::string>& settings, bool dry_run = false) {
    std::vector<std::string> arguments{"direct", "benchmark", "train", "--model", "smollm2_135m", "--device", "cpu"};
    if (dry_run) arguments.insert(arguments.begin(), "--dry-run");
    arguments.insert(arguments.end(), settings.begin(), settings.end());
    return run_primus(arguments);
  }
  /// What is proposed is taken as it stands: "memory: …: 1.23 GiB in all" for "It fits with … (1.23 GiB)".
  static void expect_proposal_is_taken(std::vector<std::string> settings, const std::string& error) {
    const std::string before = "It fits with ";
    const std::size_t begin = error.find(before) + before.size(), end = error.find(" (", begin);
    ASSERT_NE(end, std::string::npos) << error;
    std::istringstream words(error.substr(begin, end - begin));
    for (std::string word; words >> word;) settings.push_back(word);
    EXPECT_EQ(error.find("auto", begin), std::string::npos) << "which a dry run works out for all the memory there is";
    const Outcome outcome = benchmark(settings, true);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const std::string bytes = error.substr(end + 2, error.find(')', end) - end - 2);
    EXPECT_NE(outcome.out.find(": " + bytes + " in all"), std::string::npos) << outcome.out << error;
  }
};

TEST_F(DoesNotFit, WithSoManyRowsAtATime) {
  const std::vector<std::string> settings{"--micro_batch_size", "1048576", "--recompute_granularity", "full"};
  const Outcome outcome = benchmark(settings);
  expect_refused(outcome, 2, {"this run needs ", "the host has ", "It fits with --micro_batch_size "});
  EXPECT_EQ(outcome.err.find("This changes the run"), std::string::npos) << outcome.err;
  expect_proposal_is_taken(settings, outcome.err);
}

TEST_F(DoesNotFit, WithAdaptersOfSuchARank) {
  const std::vector<std::string> settings{"--peft_dim",         "4194304", "--peft_alpha", "8388608",
                                          "--micro_batch_size", "1"};
  const Outcome outcome = benchmark(settings);
  expect_refused(outcome, 2, {"--peft_dim ", "This changes the run: adapters have rank ", " instead of 4194304"});
  EXPECT_EQ(outcome.err.find("--seq_length"), std::string::npos) << outcome.err;
}

TEST_F(DoesNotFit, WithSuchLongRows) {
  const std::vector<std::string> settings{"--seq_length", "268435456", "--micro_batch_size", "1"};
  expect_refused(benchmark(settings), 2, {"--seq_length ", "This changes the run: rows are cut at "});
}

/// A copy of a reference checkpoint that a test breaks.
class WrongCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = run_.scratch().path() / "model";
    std::filesystem::copy(reference("qwen3") / "hf", folder_);
    run_.set("hf_path", folder_.string());
  }

  void change_config(const std::function<void(nlohmann::json&)>& change) const {
    auto json = nlohmann::json::parse(read(folder_ / "config.json"));
    change(json);
    write(folder_ / "config.json", json.dump());
  }

  TrainingRun run_;
  std::filesystem::path folder_;
};

TEST_F(WrongCheckpoint, MissingFolder) {
  run_.set("hf_path", "/no/such/folder");
  expect_refused(run_.train(), 2, {"hf_path", "/no/such/folder"});
}

TEST_F(WrongCheckpoint, HubIdThatIsNotInTheCache) {
  run_.set("hf_path", "nobody/no-such-model");
  const RunOptions offline{.before_exec = [] { ::setenv("HF_HUB_OFFLINE", "1", 1); }};
  expect_refused(run_.train({}, offline), 2, {"nobody/no-such-model", "cache"});
}

TEST_F(WrongCheckpoint, MissingWeights) {
  std::filesystem::remove(folder_ / "model.safetensors");
  expect_refused(run_.train(), 2, {"model.safetensors"});
}

TEST_F(WrongCheckpoint, MissingTensor) {
  change_config([](auto& json) { json["num_hidden_layers"] = 4; });
  change_config([](auto& json) { json.erase("layer_types"); });
  expect_refused(run_.train(), 2, {"model.safetensors", "model.layers.3."});
}

TEST_F(WrongCheckpoint, NamesWithoutTheirPrefix) {
  std::string weights = read(folder_ / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, weights.data(), sizeof length);
  const auto header = nlohmann::json::parse(weights.substr(sizeof length, length));
  nlohmann::json renamed;
  for (const auto& [name, tensor] : header.items()) renamed[name.substr(name.starts_with("model.") ? 6 : 0)] = tensor;
  std::string text = renamed.dump();
  ASSERT_LE(text.size(), length);
  text.resize(length, ' ');
  weights.replace(sizeof length, length, text);
  write(folder_ / "model.safetensors", weights);
  expect_refused(run_.train(), 2, {"model.embed_tokens.weight", "prefix", "AutoModelForCausalLM"});
}

TEST_F(WrongCheckpoint, WrongShape) {
  change_config([](auto& json) { json["intermediate_size"] = 256; });
  expect_refused(run_.train(), 2, {"model.safetensors", "mlp.", "(224, 96)", "(256, 96)"});
}

TEST_F(WrongCheckpoint, TruncatedFile) {
  const auto size = std::filesystem::file_size(folder_ / "model.safetensors");
  for (const double share : {0.0, 0.00001, 0.001, 0.5, 0.999}) {
    std::filesystem::copy_file(reference("qwen3") / "hf/model.safetensors", folder_ / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(folder_ / "model.safetensors",
                                 static_cast<std::uintmax_t>(share * static_cast<double>(size)));
    expect_refused(run_.train(), 2, {"model.safetensors"});
  }
}

TEST_F(WrongCheckpoint, UnsupportedArchitectureIsNamedWithThoseSupported) {
  change_config([](auto& json) {
    json["architectures"] = {"GPTBigCodeForCausalLM"};
    json["model_type"] = "gpt_bigcode";
  });
  expect_refused(run_.train(), 2, {"GPTBigCodeForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"});
}

TEST_F(WrongCheckpoint, ConfigThatIsNoJson) {
  write(folder_ / "config.json", "{\"architectures\": [");
  expect_refused(run_.train(), 2, {"config.json"});
}

TEST_F(WrongCheckpoint, TextRowsWithoutATokenizer) {
  const std::string data = run_.scratch() / "rows.jsonl";
  write(data, "{\"text\": \"hello\"}\n");
  run_.set("dataset.path", data);
  expect_refused(run_.train(), 2, {"tokenizer"});
}

/// A run of hours must not fail at its end over a word.
TEST_F(WrongCheckpoint, ElementTypeThatIsNotWrittenBecomesFloat32) {
  change_config([](auto& json) {
    json.erase("dtype");
    json["torch_dtype"] = "auto";
  });
  run_.set("peft", "none");
  ASSERT_EQ(run_.train().status, 0);
  const auto exported = nlohmann::json::parse(read(run_.directory() / "hf/config.json"));
  EXPECT_EQ(exported.at("torch_dtype"), "float32");
}

TEST(WrongAdapter, OfAnotherFormIsToldWithTheSettingsThatFit) {
  TrainingRun run;
  const std::string adapter = (reference("qwen3") / "lora_init").string();  // rank 4, alpha 8, all projections
  run.set("peft_adapter", adapter);
  run.set("dataset.path", "/no/such/rows.jsonl");  // the adapter is looked at first
  const std::string fits = "set peft_dim: 4, peft_alpha: 8, peft_target_modules: [q_proj, k_proj, v_proj, o_proj, ";
  expect_refused(run.train(), 2, {"peft_adapter", adapter, fits});
  expect_refused(run.train({"--peft_dim", "4"}), 2, {fits});
  expect_refused(run.train({"--peft_dim", "4", "--peft_alpha", "8", "--peft_target_modules", "[q_proj]"}), 2, {fits});
  expect_refused(run.train({"--peft_dim", "4", "--peft_alpha", "8"}), 2, {"dataset.path: /no/such/rows.jsonl"});
}

class WrongData : public testing::Test {
 protected:
  Outcome train_on(const std::string& text) {
    write(data_(), text);
    run_.set("dataset.path", data_());
    return run_.train();
  }
  std::string data_() const { return run_.scratch() / "rows.jsonl"; }

  TrainingRun run_;
};

TEST_F(WrongData, MissingFile) {
  run_.set("dataset.path", "/no/such/rows.jsonl");
  expect_refused(run_.train(), 2, {"dataset.path: /no/such/rows.jsonl"});
  run_.set("dataset.path", "rows.jsonl");
  expect_refused(run_.train(), 2, {"dataset.path: rows.jsonl: no such file or directory below /"});
}

TEST_F(WrongData, EmptySet) { expect_refused(train_on(""), 2, {"rows.jsonl"}); }

TEST_F(WrongData, RowsWithoutTrainedTokens) {
  expect_refused(train_on("{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n"), 2,
                 {"rows.jsonl", "trained"});
}

TEST_F(WrongData, BrokenRowIsNamedByItsLine) {
  expect_refused(train_on("{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [1, 2\n{\"input_ids\": [4, 5]}\n"), 2,
                 {"rows.jsonl:2"});
}

TEST_F(WrongData, IdOutOfTheVocabulary) {
  expect_refused(train_on("{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [1, 512]}\n"), 2, {"rows.jsonl:2", "512"});
}

TEST_F(WrongData, NoDataSetAtAll) {
  TrainingRun run;
  run.set("dataset.path", "null");
  expect_refused(run.train(), 2, {"dataset.path"});
}

TEST(WrongOutput, AFolderThatHoldsSomethingIsLeftAlone) {
  TrainingRun run;
  ASSERT_EQ(run.train({"--train_iters", "1"}).status, 0);
  const std::string precious = run.scratch() / "precious";
  std::filesystem::create_directories(precious);
  write(precious + "/thesis.txt", "x");
  const std::string model = (reference("qwen3") / "hf").string();
  expect_refused(
      run_primus({"export", "--checkpoint", (run.directory() / "checkpoints").string(), "--output", precious}), 2,
      {"--output", "precious"});
  expect_refused(run_primus({"merge", "--model", model, "--adapter", (run.directory() / "adapter").string(), "--output",
                             precious}),
                 2, {"--output", "precious"});
  EXPECT_TRUE(std::filesystem::exists(precious + "/thesis.txt"));
}

TEST(WrongWorkspace, NoPermission) {
  // below /proc nobody makes folders, root neither
  const TrainingRun run;
  expect_refused(run.train({"--workspace", "/proc/primus-test"}), 1, {"/proc/primus-test"});
}

TEST(WrongWorkspace, NoPlaceForCheckpointsIsFoundBeforeTheFirstStep) {
  const TrainingRun run;
  const Outcome outcome = run.train({"--save", "/proc/primus-test"});
  expect_refused(outcome, 1, {"/proc/primus-test"});
  EXPECT_EQ(outcome.err.find("iteration 1"), std::string::npos) << outcome.err;
}

TEST(WrongWorkspace, AFileStandsInTheWay) {
  const TrainingRun run;
  write(run.scratch() / "file", "x");
  expect_refused(run.train({"--workspace", run.scratch() / "file"}), 1, {"file"});
}

TEST(WrongWorkspace, FileSizeLimitEndsTheRunWithTheReason) {
  const TrainingRun run;
  RunOptions options;
  options.before_exec = [] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{64 << 10, 64 << 10};  // smaller than a checkpoint, larger than the log
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  const Outcome outcome = run.train({}, options);
  expect_refused(outcome, 3, {"checkpoints", "File too large"});
  for (const auto& entry : std::filesystem::directory_iterator(run.directory() / "checkpoints")) {
    ADD_FAILURE() << "left behind: " << entry.path();
  }
}

/// A run whose workspace is a file system of its own, in a mount namespace of the child's own.
class SmallDisk : public testing::Test {
 protected:
  /// mount's type and options: a checkpoint takes 1.8 MiB, the adapter 0.6.
  void train(const char* type, const char* size, const std::vector<std::string>& more = {}) {
    constexpr int kNoMount = 77;
    const std::string folder = run_.scratch() / "small";
    std::filesystem::create_directories(folder);
    RunOptions options;
    options.before_exec = [=] {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount(type, folder.c_str(), type, 0, size) != 0) {
        ::_exit(kNoMount);
      }
    };
    std::vector<std::string> arguments{"--workspace", folder};
    arguments.insert(arguments.end(), more.begin(), more.end());
    outcome_ = run_.train(arguments, options);
    if (outcome_.status == kNoMount) GTEST_SKIP() << "mounting a small file system needs root";
  }
  bool says(const char* text) const { return outcome_.err.find(text) != std::string::npos; }

  TrainingRun run_;
  Outcome outcome_;
};

TEST_F(SmallDisk, WithoutRoomForACheckpointIsFoundBeforeTheDataAreRead) {
  run_.set("dataset.path", "/no/such/rows.jsonl");
  train("tmpfs", "size=1m");
  if (IsSkipped()) return;
  expect_refused(outcome_, 2,
                 {"save: a checkpoint of this run takes 1.8 MiB", "/small/", " left: free some, or set save"});
  EXPECT_FALSE(says("rows.jsonl")) << outcome_.err;
}

TEST_F(SmallDisk, WithoutRoomForAllIsWarnedOfAndFailsWhenItIsFull) {
  train("tmpfs", "size=3m", {"--save_interval", "2"});
  if (IsSkipped()) return;
  expect_refused(outcome_, 3,
                 {"warning: 3 checkpoints of 1.8 MiB, adapter/ 600.0 KiB: 5.9 MiB in all are going to be",
                  "most_recent_k", "No space left on device", "checkpoints/iter_0000004"});
  EXPECT_TRUE(says("saved ")) << outcome_.err;
}

TEST_F(SmallDisk, WithRoomForThoseThatAreKeptIsSilent) {
  train("tmpfs", "size=8m", {"--save_interval", "1", "--most_recent_k", "1"});
  if (IsSkipped()) return;
  EXPECT_EQ(outcome_.status, 0) << outcome_.err;
  EXPECT_FALSE(says("warning")) << outcome_.err;
}

TEST_F(SmallDisk, ThatDoesNotTellItsSizeRefusesNothing) {
  train("ramfs", "");
  if (IsSkipped()) return;
  EXPECT_EQ(outcome_.status, 0) << outcome_.err;
  EXPECT_FALSE(says("warning")) << outcome_.err;
}

TEST_F(SmallDisk, BesideTheCheckpointsIsWarnedOfForTheResultAlone) {
  train("tmpfs", "size=400k", {"--save", run_.scratch() / "elsewhere"});
  if (IsSkipped()) return;
  expect_refused(outcome_, 3,
                 {"warning: adapter/ 600.0 KiB: 600.0 KiB in all", "set workspace to", "No space left on device"});
  EXPECT_TRUE(std::filesystem::exists(run_.scratch() / "elsewhere/iter_0000006")) << outcome_.err;
}

}  // namespace
}  // namespace primus::cli_test
