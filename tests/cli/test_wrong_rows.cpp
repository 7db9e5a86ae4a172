#include <gtest/gtest.h>

#include <fstream>

#include "expect_refused.h"
#include "tiny_run.h"

/// Rows that a user can get wrong, tried on the real binary: the file, the line, what is wrong and what is expected.
namespace primus::cli_test {
namespace {

const std::string kGood = chat_row("Where?", "Here.");

Outcome train_on(const std::string& rows, const std::string& chat_template = "") {
  TinyRun run(rows);
  if (!chat_template.empty()) {
    const std::string file = run.scratch() / "own.jinja";
    write(file, chat_template);
    run.set("dataset.chat_template", file);
  }
  run.set("train_iters", "1");
  return run.train();
}

TEST(WrongRows, BrokenUtf8) {
  expect_refused(train_on(kGood + chat_row("a\xff\xfe", "b")), 2, {"rows.jsonl:2", "UTF-8"});
}

TEST(WrongRows, HalfOfASurrogatePair) {
  expect_refused(train_on(kGood + chat_row("\\ud800", "b")), 2, {"rows.jsonl:2", "surrogate"});
}

TEST(WrongRows, ARowOfAHundredMegabytes) {
  TinyRun run;
  {
    std::ofstream file(run.rows_file(), std::ios::binary);
    file << kGood << R"({"text": ")";
    const std::string words(1u << 20, 'x');
    for (int megabyte = 0; megabyte < 100; ++megabyte) file << words;
    file << "\"}\n";
  }
  const Outcome outcome = run.train();
  expect_refused(outcome, 2, {"rows.jsonl:2", "longer than 64 MiB"});
}

TEST(WrongRows, AColumnThatNoFormatHas) {
  TinyRun run(kGood);
  run.set("dataset.columns", "{promt: question}");
  expect_refused(run.train(), 2, {".yaml:", "\"promt\" is no column of any format", "prompt"});
}

TEST(WrongRows, MoreWorkersThanAHostHasThreadsFor) {
  TinyRun run(kGood);
  run.set("dataset.num_workers", "100000");
  run.set("train_iters", "1");
  const Outcome outcome = run.train();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST(WrongRows, UnknownRole) {
  expect_refused(train_on(kGood + R"({"messages": [{"role": "asistant", "content": "a"}]})"), 2,
                 {"rows.jsonl:2", "asistant", "assistant", "user"});
  expect_refused(train_on(R"({"conversations": [{"from": "alien", "value": "a"}]})"), 2,
                 {"rows.jsonl:1", "alien", "human", "gpt"});
}

TEST(WrongRows, ConsecutiveAssistantTurnsAreTrainedBoth) {
  TinyRun run(R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "one"}, )"
              R"({"role": "assistant", "content": "two"}]})");
  const Outcome outcome = run.preview();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("⟦one<|im_end|>⟧\n<|im_start|>assistant\n⟦two<|im_end|>⟧"), std::string::npos)
      << outcome.out;
}

TEST(WrongRows, ATemplateThatRaises) {
  expect_refused(train_on(kGood + chat_row("again", "b"),
                          "{% for m in messages %}\n{% if m.content == 'again' %}{{ raise_exception('said twice') }}"
                          "{% endif %}{{ m.content }}{% endfor %}"),
                 2, {"rows.jsonl:2", "own.jinja", "line 2", "said twice"});
}

TEST(WrongRows, ATemplateThatDoesNotCompile) {
  expect_refused(train_on(kGood, "{% for m in messages %}\n{{ m.content }"), 2, {"own.jinja", "line 2"});
}

TEST(WrongRows, NoTemplateNamesTheBuiltInOnes) {
  TinyRun run(kGood);
  const std::string folder = run.scratch() / "model";
  std::filesystem::copy(kTinyModel, folder);
  const std::string config = folder + "/tokenizer_config.json";
  std::string text = read(config);
  const auto at = text.find("\"chat_template\"");
  text.replace(at, 15, "\"chat_tmplate\"");
  write(config, text);
  run.set("hf_path", folder);
  expect_refused(run.train(), 2, {"rows.jsonl:1", "chat template", "chatml", "llama3", "mistral"});
}

TEST(WrongRows, MixedFormatsInOneFile) {
  expect_refused(train_on(kGood + R"({"prompt": "a", "completion": "b"})"), 2, {"rows.jsonl:2", "messages"});
  expect_refused(train_on(R"({"text": "a"})"
                          "\n" +
                          kGood),
                 2, {"rows.jsonl:2", "text"});
}

TEST(WrongRows, ARowThatIsNoObject) {
  expect_refused(train_on(kGood + "[1, 2]\n"), 2, {"rows.jsonl:2"});
  expect_refused(train_on(kGood + "7\n"), 2, {"rows.jsonl:2"});
}

}  // namespace
}  // namespace primus::cli_test
