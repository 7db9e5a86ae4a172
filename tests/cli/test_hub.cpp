#include <gtest/gtest.h>

#include <cstdlib>

#include "expect_refused.h"
#include "fake_hub.h"
#include "tiny_run.h"

/// hf_path and dataset.path as ids of the hub, with a server that plays it.
namespace primus::cli_test {
namespace {

namespace fs = std::filesystem;

class Hub : public testing::Test {
 protected:
  Hub() {
    for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
      if (fs::exists(fs::path(kTinyModel) / name)) models_.add_small(name, read(fs::path(kTinyModel) / name));
    }
    models_.add_large("model.safetensors", read(kTinyModel + "/model.safetensors"));
    models_.add_small("pytorch_model.bin", "not to be downloaded");
    data_.add_small("README.md", "# Rows");
    data_.add_small("data/train-1.jsonl", chat_row("Where?", "Here.") + chat_row("Who?", "You."));
    data_.add_small("data/test-1.jsonl", chat_row("When?", "Now."));
    data_.add_small("dataset_infos.json", "{}");
    models_.also = &data_;
    run_.set("hf_path", "org/tiny");
    run_.set("dataset.path", "org/rows");
    run_.set("dataset.validation_path", "org/rows");
    run_.set("train_iters", "1");
    run_.set("global_batch_size", "2");
  }

  RunOptions options() {
    return {.before_exec = [this] {
      ::setenv("HF_ENDPOINT", endpoint_.c_str(), 1);
      ::setenv("HF_HOME", (run_.scratch() / "hf").c_str(), 1);
      ::setenv("HF_HUB_OFFLINE", offline_ ? "1" : "0", 1);
      ::setenv("HF_TOKEN", token_.c_str(), 1);
      ::unsetenv("HF_HUB_CACHE");
    }};
  }
  Outcome run(const std::vector<std::string>& command) {
    const std::string file = run_.scratch() / "run.yaml";
    write(file, run_.config());
    std::vector<std::string> arguments{"--debug", "direct", "--"};
    arguments.insert(arguments.end(), command.begin(), command.end());
    arguments.insert(arguments.end(), {"--config", file});
    return run_primus(arguments, options());
  }
  Outcome train() { return run({"train", "posttrain"}); }
  fs::path cached_weights() const {
    return run_.scratch() / "hf/hub/models--org--tiny/blobs/" + models_.etag("model.safetensors");
  }

  hub::testing::FakeHub models_{"org/tiny"};
  hub::testing::FakeHub data_{"org/rows", "datasets"};
  TinyRun run_;
  std::string endpoint_ = models_.address();
  std::string token_ = "hf_very_secret";
  bool offline_ = false;
};

TEST_F(Hub, TrainsFromTheHubAndThenFromTheCache) {
  models_.token = data_.token = token_;
  models_.drop_next("model.safetensors", 1'000'000);
  const Outcome first = train();
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_NE(first.err.find("org/tiny: downloading 4 files"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find("org/tiny: downloading a file, 2.0 MB"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find("training data: 2 rows"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find("validation data: 1 rows"), std::string::npos) << first.err;
  EXPECT_TRUE(fs::is_regular_file(cached_weights()));
  EXPECT_EQ(models_.downloads_of("pytorch_model.bin"), 0);
  EXPECT_EQ((first.out + first.err).find("secret"), std::string::npos) << "the token is never logged";
  for (const auto& entry : fs::recursive_directory_iterator(run_.directory())) {
    const std::string content = entry.is_regular_file() ? read(entry.path()) : "";
    EXPECT_EQ(content.find(token_), std::string::npos) << entry.path();
  }
  offline_ = true;
  const Outcome second = run({"eval"});
  EXPECT_EQ(second.status, 0) << second.err;
}

TEST_F(Hub, APreviewNeedsNoWeights) {
  const Outcome outcome = run({"data", "preview"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("⟦Here.<|im_end|>⟧"), std::string::npos) << outcome.out;
  EXPECT_FALSE(fs::exists(cached_weights()));
}

TEST_F(Hub, AFileOfADataSetCanBeNamed) {
  run_.set("dataset.path", "org/rows@main/data/test-1.jsonl");
  run_.set("dataset.validation_path", "null");
  const Outcome outcome = run({"data", "preview"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("Now."), std::string::npos) << outcome.out;
  run_.set("dataset.path", "org/rows/data/other.jsonl");
  expect_refused(run({"data", "preview"}), 2, {"org/rows/data/other.jsonl", "README.md, data/test-1.jsonl"});
}

TEST_F(Hub, ParquetIsToldToBeConverted) {
  hub::testing::FakeHub parquet("org/parquet", "datasets");
  parquet.add_large("data/train.parquet", "PAR1");
  data_.also = &parquet;
  run_.set("dataset.path", "org/parquet");
  expect_refused(train(), 2, {"org/parquet", "Parquet", "JSON lines"});
}

TEST_F(Hub, WhatIsNotThereIsToldForWhatItWasTaken) {
  run_.set("hf_path", "org/tyni");
  expect_refused(train(), 2, {"hf_path: org/tyni is no folder here", "hub id", "404"});
  run_.set("hf_path", "org/tiny");
  models_.token = "another";
  const Outcome refused = train();
  expect_refused(refused, 2, {"org/tiny", "401", "HF_TOKEN is not valid"});
  EXPECT_EQ(refused.err.find("secret"), std::string::npos);
  offline_ = true;
  expect_refused(train(), 2, {"org/tiny", "HF_HUB_OFFLINE"});
}

TEST_F(Hub, ARunThatCannotBeIsRefusedBeforeTheWeightsAreDownloaded) {
  run_.set("seq_length", "4096");
  expect_refused(train(), 2, {"seq_length (4096) is longer than the model's positions"});
  run_.set("seq_length", "512");
  run_.set("micro_batch_size", "1000000");
  run_.set("global_batch_size", "1000000");
  expect_refused(train(), 2, {"this run needs ", " GiB of memory"});
  EXPECT_EQ(models_.downloads_of("model.safetensors"), 0);
}

TEST_F(Hub, AModelWithoutSafetensorsIsRefusedBeforeADownloadOfWeights) {
  hub::testing::FakeHub old("org/old");
  old.add_small("config.json", read(kTinyModel + "/config.json"));
  old.add_large("pytorch_model.bin", "x");
  endpoint_ = old.address();
  run_.set("hf_path", "org/old");
  expect_refused(train(), 2, {"org/old", "model.safetensors"});
  EXPECT_EQ(old.downloads_of("pytorch_model.bin"), 0);
}

TEST_F(Hub, TokenizeTakesAHubId) {
  RunOptions with_input = options();
  with_input.input = "{\"text\": \"a\"}\n";
  const Outcome outcome = run_primus({"tokenize", "--model", "org/tiny"}, with_input);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_FALSE(fs::exists(cached_weights()));
}

}  // namespace
}  // namespace primus::cli_test
