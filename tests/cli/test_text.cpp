#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_refused.h"
#include "tiny_run.h"
#include "tokenizer/tokenizer.h"

/// What the commands show of texts and rows: tokenize, data preview, the summary before training.
namespace primus::cli_test {
namespace {

using nlohmann::json;

std::vector<json> json_lines(const std::string& text) {
  std::vector<json> rows;
  for (const std::string& line : lines_of(text)) rows.push_back(json::parse(line));
  return rows;
}

Outcome tokenize(const std::string& input, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{"direct", "--", "tokenize", "--model", kTinyModel};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_primus(arguments, {.input = input});
}

TEST(Tokenize, AnswersEveryLineWithTheRenderedTextAndItsIds) {
  const auto tokenizer = tokenizer::Tokenizer::load(kTinyModel);
  const Outcome outcome = tokenize(
      "{\"text\": \"Wörld <|im_end|>\"}\n\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"tools\": null, "
      "\"add_generation_prompt\": true}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}",
      {"--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::vector<std::string> expected = {"Wörld <|im_end|>",
                                             "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
                                             "<|im_start|>user\nHi<|im_end|>\n"};
  const std::vector<json> rows = json_lines(outcome.out);
  ASSERT_EQ(rows.size(), expected.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].at("rendered"), expected[i]);
    EXPECT_EQ(rows[i].at("ids").get<std::vector<std::int32_t>>(), tokenizer.encode(expected[i]));
  }
  EXPECT_EQ(tokenize("{\"text\": \"a\"}\n").out, tokenize("{\"text\": \"a\"}\n", {"--json"}).out);
}

TEST(Tokenize, TakesAnotherTemplate) {
  const Outcome outcome =
      tokenize(R"({"messages": [{"role": "user", "content": "Hi"}]})", {"--chat-template", "llama3"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(json_lines(outcome.out).at(0).at("rendered").get<std::string>().find("<|start_header_id|>user"),
            std::string::npos);
}

TEST(Tokenize, AWrongLineIsToldByItsNumber) {
  const std::string good = "{\"text\": \"a\"}\n";
  expect_refused(tokenize(good + "{\"text\": "), 2, {"standard input, line 2", "column"});
  expect_refused(tokenize(good + "{\"txt\": \"a\"}"), 2, {"line 2", "neither \"text\" nor \"messages\""});
  expect_refused(tokenize("{\"text\": 7}"), 2, {"line 1", "must be a text"});
  expect_refused(tokenize("{\"text\": \"a\", \"add_spezial\": 1}"), 2, {"add_spezial", "add_special_tokens"});
  expect_refused(tokenize("{\"text\": \"\xff\"}"), 2, {"line 1", "UTF-8"});
  expect_refused(tokenize("{\"messages\": \"a\"}"), 2, {"line 1"});
  expect_refused(run_primus({"tokenize", "--model", "/no/such/folder"}), 2, {"/no/such/folder"});
}

TEST(DataPreview, MarksWhatIsTrained) {
  TinyRun run(chat_row("Where?", "Here.") + chat_row("Who?", "You."));
  const Outcome outcome = run.preview({"-n", "1"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("rows.jsonl:1 (messages): "), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n⟦Here.<|im_end|>⟧\n"),
            std::string::npos)
      << outcome.out;
  EXPECT_EQ(outcome.out.find("Who?"), std::string::npos);
  EXPECT_EQ(outcome.out.find('\x1b'), std::string::npos) << "colours are for terminals";
}

TEST(DataPreview, ColoursTrainedContextSpecialAndTruncated) {
  TinyRun run(chat_row("Where?", "Here \\u001b[2Jor there."));
  run.set("seq_length", "20");
  const Outcome outcome = run.preview({"--color", "always"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("\x1b[35m<|im_start|>\x1b[0m\x1b[90muser\nWhere?\x1b[0m"), std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("\x1b[32mHere"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("\x1b[9;31m"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("cut off at seq_length 20"), std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.out.find("\x1b[2J"), std::string::npos) << "a row must not steer the terminal";
  expect_refused(run.preview({"--color", "blue"}), 2, {"--color", "blue"});
}

TEST(DataPreview, GivesIdsAndLabelsAsJson) {
  TinyRun run(chat_row("Where?", "Here.") + R"({"messages": [{"role": "user", "content": "Alone"}]})" + "\n");
  const Outcome outcome = run.preview({"--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::vector<json> rows = json_lines(outcome.out);
  ASSERT_EQ(rows.size(), 2U) << "all rows, when there are fewer than asked for";
  const auto tokenizer = tokenizer::Tokenizer::load(kTinyModel);
  const auto ids = rows[0].at("ids").get<std::vector<std::int32_t>>();
  const auto labels = rows[0].at("labels").get<std::vector<std::int32_t>>();
  EXPECT_EQ(ids, tokenizer.encode("<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\nHere.<|im_end|>\n"));
  ASSERT_EQ(labels.size(), ids.size());
  std::vector<std::int32_t> trained;
  std::copy_if(labels.begin(), labels.end(), std::back_inserter(trained), [](std::int32_t l) { return l != -100; });
  EXPECT_EQ(tokenizer.decode(trained), "Here.<|im_end|>");
  EXPECT_EQ(rows[0].at("trained_tokens"), trained.size());
  EXPECT_EQ(rows[0].at("dropped"), false);
  EXPECT_EQ(rows[1].at("dropped"), true);
}

TEST(Training, WarnsOnceOfToolsThatTheChatTemplateLeavesOut) {
  const std::string call =
      R"({"messages": [{"role": "user", "content": "Time?"}, {"role": "assistant", "content": "", )"
      R"("tool_calls": [{"type": "function", "function": {"name": "get_time", "arguments": {}}}]}]})"
      "\n";
  TinyRun run(chat_row("Where?", "Here.") + call + call);
  for (int times = 0; times < 2; ++times) {  // the second time out of the cache
    const Outcome outcome = run.train({"--train_iters", "1", "--exp_name", "tools" + std::to_string(times)});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const std::string told = "2 of 3 rows carry tools or tool calls";
    const std::size_t at = outcome.err.find(told);
    ASSERT_NE(at, std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find(told, at + 1), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("rows.jsonl:2, ", at), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("dataset.chat_template", at), std::string::npos) << outcome.err;
  }
  const Outcome shown = run.preview();
  EXPECT_NE(shown.out.find("WITHOUT its tools"), std::string::npos) << shown.out;
}

TEST(DataPreview, ShowsRowsOfIdsWithoutATokenizer) {
  TrainingRun run;
  const std::string file = run.scratch() / "run.yaml";
  write(file, run.config());
  const Outcome outcome = run_primus({"data", "preview", "--config", file, "-n", "2"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("data.jsonl:2 (input_ids)"), std::string::npos) << outcome.out;
}

TEST(DataPreview, SaysWhatIsWrongWithARow) {
  TinyRun run(chat_row("Where?", "Here.") + "{\"messages\": []}\n");
  expect_refused(run.preview(), 2, {"rows.jsonl:2", "empty"});
  expect_refused(run.preview({"-n", "0"}), 2, {"-n", "at least 1"});
  run.set_rows("");
  expect_refused(run.preview(), 2, {"rows.jsonl", "no rows"});
}

TEST(Summary, TellsWhatIsTrainedBeforeTraining) {
  const std::string words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
  TinyRun run(chat_row("Where?", "Here.") + chat_row(words + words + words, "No.") + chat_row("Say it", words) +
              chat_row("Who?", "You."));
  run.set("seq_length", "48");
  run.set("packed_sequence", "true");
  run.set("global_batch_size", "2");
  run.set("micro_batch_size", "1");
  run.set("train_iters", "1");
  const Outcome outcome = run.train();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const char* part : {"training data: 3 rows, ", " of them trained (", "longest row 48 tokens", "32–63", "█",
                           "2 longer than seq_length 48 and cut at the right: ", "rows.jsonl:2, ", "rows.jsonl:3\n",
                           "1 dropped, nothing trained within seq_length 48: ", "packing: 2 packs, ", "% full",
                           "rows of format messages, rendered through the chat template"}) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\nin: " << outcome.err;
  }
}

TEST(Evaluation, OfNoneIsNone) {
  TinyRun run(chat_row("Where?", "Here.") + chat_row("Who?", "You."));
  run.set("eval_iters", "0");
  run.set("dataset.validation_fraction", "0.5");
  run.set("global_batch_size", "2");
  run.set("train_iters", "1");
  const Outcome trained = run.train();
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE(trained.err.find("no validation: eval_iters is 0"), std::string::npos) << trained.err;
  EXPECT_EQ(read(run.directory() / "metrics.jsonl").find("validation_loss"), std::string::npos);
  expect_refused(run_primus({"eval", "--config", run.scratch() / "run.yaml"}), 2, {"eval_iters is 0", "--eval_iters"});
}

}  // namespace
}  // namespace primus::cli_test
