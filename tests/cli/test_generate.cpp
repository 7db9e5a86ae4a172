#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_refused.h"
#include "tiny_run.h"

/// `generate` of the real binary, with the bundled tiny model.
namespace primus::cli_test {
namespace {

using nlohmann::json;

Outcome generate(const std::vector<std::string>& more, const RunOptions& options = {}) {
  std::vector<std::string> arguments{"generate", "--model", kTinyModel, "--device", "cpu"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_primus(arguments, options);
}

std::vector<json> json_lines(const Outcome& outcome) {
  std::vector<json> rows;
  for (const std::string& line : lines_of(outcome.out)) rows.push_back(json::parse(line));
  return rows;
}

TEST(Generate, AnswersAPromptFromTheCommandLineOrStandardInput) {
  const Outcome typed = generate({"--prompt", "Which town?", "--max-new-tokens", "8"});
  ASSERT_EQ(typed.status, 0) << typed.err;
  EXPECT_FALSE(typed.out.empty());
  const Outcome piped = generate({"--prompt", "-", "--max-new-tokens", "8"}, {.input = "Which town?"});
  EXPECT_EQ(piped.out, typed.out);
  const Outcome raw = generate({"--prompt", "Which town?", "--max-new-tokens", "8", "--raw"});
  EXPECT_EQ(raw.status, 0) << raw.err;
  EXPECT_NE(raw.out, typed.out) << "--raw leaves the chat template out";
}

TEST(Generate, AnswersDoNotHangOnTheBatchSize) {
  const Scratch scratch;
  write(scratch / "rows.jsonl",
        chat_row("Which town?", "no such answer") + chat_row("What is made in Harlow?", "x") + chat_row("Who?", "x"));
  const auto rows_with = [&](const char* batch) {
    const Outcome outcome = generate({"--input", scratch / "rows.jsonl", "--max-new-tokens", "8", "--json",
                                      "--batch-size", batch, "--precision", "fp32"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return json_lines(outcome);
  };
  const std::vector<json> alone = rows_with("1");
  ASSERT_EQ(alone.size(), 4U);
  EXPECT_EQ(rows_with("3"), alone);
  EXPECT_EQ(alone[0].at("prompt"), "Which town?");
  EXPECT_EQ(alone[0].at("expected"), "no such answer");
  EXPECT_EQ(alone[0].at("match"), false);
  EXPECT_EQ(alone[3].at("rows"), 3);
  EXPECT_EQ(alone[3].at("exact_match"), 0.0);
}

TEST(Generate, DrawsAreRepeatedByTheirSeed) {
  const auto drawn = [](const char* seed) {
    return generate({"--prompt", "Which town?", "--max-new-tokens", "16", "--temperature", "2", "--top-k", "50",
                     "--seed", seed})
        .out;
  };
  EXPECT_EQ(drawn("3"), drawn("3"));
  EXPECT_NE(drawn("3"), drawn("4"));
}

TEST(WrongGenerate, OptionsOutOfTheirRange) {
  expect_refused(generate({"--prompt", "x", "--temperature", "-1"}), 2, {"--temperature", "at least 0"});
  expect_refused(generate({"--prompt", "x", "--temperature", "nan"}), 2, {"--temperature"});
  expect_refused(generate({"--prompt", "x", "--top-p", "0"}), 2, {"--top-p"});
  expect_refused(generate({"--prompt", "x", "--top-p", "1.5"}), 2, {"--top-p"});
  expect_refused(generate({"--prompt", "x", "--precision", "int8"}), 2, {"--precision", "bf16", "fp32"});
  expect_refused(generate({"--prompt", "x", "--max-new-tokens", "0"}), 2, {"--max-new-tokens"});
  expect_refused(generate({}), 2, {"--prompt", "--input"});
  expect_refused(generate({"--prompt", "x", "--raw", "--system", "y"}), 2, {"--system", "--raw"});
}

TEST(WrongGenerate, PromptsThatAreEmptyOrTooLong) {
  expect_refused(generate({"--prompt", "", "--raw"}), 2, {"prompt is empty"});
  const Scratch scratch;
  std::string words;
  for (int i = 0; i < 600; ++i) words += " word";
  write(scratch / "rows.jsonl", chat_row("short", "x") + chat_row(words, "x"));
  expect_refused(generate({"--input", scratch / "rows.jsonl"}), 2, {"rows.jsonl:2", "512"});
}

/// Attention here is over everything before a token, so a model of windows answers within one window only.
TEST(WrongGenerate, PromptLongerThanTheSlidingWindow) {
  const Scratch scratch;
  const std::filesystem::path folder = scratch.path() / "model";
  std::filesystem::copy(kTinyModel, folder);
  auto config = json::parse(read(folder / "config.json"));
  config["sliding_window"] = 16;
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 0;
  config.erase("layer_types");
  write(folder / "config.json", config.dump());
  const Outcome outcome = run_primus({"generate", "--model", folder.string(), "--device", "cpu", "--prompt",
                                      "one two three four five six seven eight nine ten eleven twelve thirteen"});
  expect_refused(outcome, 2, {"16"});
}

TEST(WrongGenerate, AdapterOfAnotherModel) {
  const std::string adapter = (reference("qwen3") / "lora_init").string();
  expect_refused(generate({"--prompt", "x", "--adapter", adapter}), 2, {adapter, "shape"});
}

}  // namespace
}  // namespace primus::cli_test
