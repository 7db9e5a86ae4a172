#include <gtest/gtest.h>

#include "data/row_format.h"
#include "data_folder.h"

namespace primus::data {
namespace {

using testing::message_of;
using tokenizer::parse_json;

RowFormat format_of(const std::string& row, const Columns& columns = {}) {
  return find_format(parse_json(row), columns, "f:1");
}

Example read(const std::string& row, const Columns& columns = {}) {
  const auto value = parse_json(row);
  return read_example(value, find_format(value, columns, "f:1"), columns, 0, "f:1");
}

std::string error_of(const std::string& row, const Columns& columns = {}) {
  return message_of([&] { read(row, columns); });
}

/// The messages as JSON.
std::string chat(const Example& example) { return tokenizer::to_json(tokenizer::Value(example.messages)); }

TEST(RowFormat, IsFoundFromTheColumns) {
  EXPECT_EQ(format_of(R"({"input_ids": [1]})"), RowFormat::kInputIds);
  EXPECT_EQ(format_of(R"({"prompt": "p", "messages": [], "prompt_id": 3})"), RowFormat::kMessages);
  EXPECT_EQ(format_of(R"({"conversations": []})"), RowFormat::kConversations);
  EXPECT_EQ(format_of(R"({"instruction": "i", "input": "", "output": "o", "text": "t"})"), RowFormat::kInstruction);
  EXPECT_EQ(format_of(R"({"prompt": "p", "completion": "c"})"), RowFormat::kPromptCompletion);
  EXPECT_EQ(format_of(R"({"input": "p", "output": "c"})"), RowFormat::kInputOutput);
  EXPECT_EQ(format_of(R"({"text": "t", "messages": null})"), RowFormat::kText) << "null is as good as absent";
}

TEST(RowFormat, ColumnsMapOtherNamesAndComeFirst) {
  const Columns columns = {{"prompt", "question"}, {"completion", "answer"}};
  EXPECT_EQ(format_of(R"({"question": "q", "answer": "a", "text": "t", "messages": []})", columns),
            RowFormat::kPromptCompletion);
  const Example example = read(R"({"question": "q", "answer": "a"})", columns);
  EXPECT_EQ(example.prompt, "q");
  EXPECT_EQ(example.text, "a");
  EXPECT_EQ(chat(read(R"({"chat": [{"role": "user", "content": "x"}]})", {{"messages", "chat"}})),
            R"([{"role": "user", "content": "x"}])");
}

TEST(RowFormat, AnUnknownRowIsToldWithWhatItHas) {
  EXPECT_EQ(error_of(R"({"question": "q", "answer": null})"),
            "f:1: no known row format: the row has question, answer (null); expected one of input_ids, messages, "
            "conversations, instruction+output, prompt+completion, input+output, text. Other names are mapped with "
            "dataset.columns (prompt: question, completion: answer)");
  EXPECT_NE(error_of(R"({"question": "q"})", {{"prompt", "question"}, {"completion", "response"}})
                .find("dataset.columns maps completion to \"response\", which the row lacks"),
            std::string::npos);
  EXPECT_EQ(error_of("3"), "f:1: a row must be a JSON object, this one is an integer");
  EXPECT_NE(error_of("{}").find("the row has none"), std::string::npos);
}

TEST(RowFormat, NamesAreThoseOfTheConfiguration) {
  EXPECT_EQ(format_named("prompt_completion"), RowFormat::kPromptCompletion);
  EXPECT_EQ(format_named("alpaca"), RowFormat::kInstruction);
  EXPECT_EQ(format_named("sharegpt"), RowFormat::kConversations);
  for (const auto format :
       {RowFormat::kInputIds, RowFormat::kMessages, RowFormat::kConversations, RowFormat::kInstruction,
        RowFormat::kPromptCompletion, RowFormat::kInputOutput, RowFormat::kText}) {
    EXPECT_EQ(format_named(std::string(name_of(format))), format);
  }
}

TEST(RowFormat, MessagesStayAsTheyAre) {
  const std::string messages = R"([{"role": "system", "content": "s"}, {"role": "user", "content": "u", "name": "n"}, )"
                               R"({"role": "assistant", "content": null, "tool_calls": [{"type": "function"}]}, )"
                               R"({"role": "tool", "content": [{"type": "text", "text": "t"}]}, )"
                               R"({"role": "assistant", "content": "a", "reasoning_content": "r"}])";
  const Example example =
      read(R"({"messages": )" + messages +
           R"(, "tools": [{"type": "function"}], "chat_template_kwargs": {"enable_thinking": false}})");
  EXPECT_EQ(chat(example), messages);
  EXPECT_EQ(example.tools.as_list().size(), 1U);
  EXPECT_FALSE(example.template_variables.find("enable_thinking")->as_bool());
  EXPECT_FALSE(example.is_pair);
}

TEST(RowFormat, ToolsMayBeAJsonText) {
  const std::string head = R"({"messages": [{"role": "user", "content": "u"}], "tools": )";
  EXPECT_EQ(read(head + R"("[{\"name\": \"f\"}]"})").tools.as_list().size(), 1U);
  EXPECT_TRUE(read(head + R"(""})").tools.is_null());
  EXPECT_TRUE(read(head + R"([]})").tools.is_null());
  EXPECT_NE(error_of(head + R"("[{"})").find("f:1: tools"), std::string::npos);
  EXPECT_NE(error_of(head + R"({"name": "f"}})").find("tools must be a list"), std::string::npos);
}

TEST(RowFormat, ShareGptSpeakersBecomeRoles) {
  EXPECT_EQ(
      chat(read(R"({"system": "s", "conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"},
                          {"from": "function_call", "value": "c"}, {"from": "observation", "value": "o"}]})")),
      R"([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, )"
      R"({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "c"}, )"
      R"({"role": "tool", "content": "o"}])");
  EXPECT_EQ(chat(read(R"({"system": "s", "conversations": [{"from": "system", "value": "t"}]})")),
            R"([{"role": "system", "content": "t"}])")
      << "the conversation's own system turn stays alone";
  EXPECT_EQ(chat(read(R"({"conversations": [{"role": "user", "content": "u"}]})")),
            R"([{"role": "user", "content": "u"}])");
}

TEST(RowFormat, ShareGptKeepsWhatElseAMessageHolds) {
  EXPECT_EQ(chat(read(R"({"conversations": [{"from": "human", "value": [{"type": "text", "text": "u"}]},
                          {"from": "gpt", "value": null, "tool_calls": [1]}]})")),
            R"([{"role": "user", "content": [{"type": "text", "text": "u"}]}, )"
            R"({"role": "assistant", "content": null, "tool_calls": [1]}])");
  EXPECT_EQ(chat(read(R"({"messages": [{"role": "user", "value": "u"}]})")), R"([{"role": "user", "content": "u"}])");
}

TEST(RowFormat, PairsBecomeAUserAndAnAssistantTurn) {
  const std::string turns = R"([{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}])";
  for (const char* row :
       {R"({"prompt": "p", "completion": "c"})", R"({"input": "p", "output": "c"})",
        R"({"instruction": "p", "output": "c"})", R"({"instruction": "p", "input": "", "output": "c"})",
        R"({"instruction": "", "input": "p", "output": "c"})"}) {
    const Example example = read(row);
    EXPECT_EQ(chat(example), turns);
    EXPECT_TRUE(example.is_pair);
    EXPECT_TRUE(example.is_plain_pair);
    EXPECT_EQ(example.completion_begins, 1U);
  }
  EXPECT_EQ(read(R"({"instruction": "i", "input": "n", "output": "c"})").prompt, "i\n\nn");
  const Example with_system = read(R"({"system": "s", "prompt": "p", "completion": "c"})");
  EXPECT_EQ(with_system.messages.size(), 3U);
  EXPECT_EQ(with_system.completion_begins, 2U);
  EXPECT_EQ(with_system.prompt, "s\n\np");
}

TEST(RowFormat, PairsMayBeListsOfMessages) {
  const Example example = read(R"({"prompt": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"},
      {"role": "user", "content": "v"}], "completion": [{"role": "assistant", "content": "b"}]})");
  EXPECT_EQ(example.messages.size(), 4U);
  EXPECT_EQ(example.completion_begins, 3U);
  EXPECT_TRUE(example.is_pair);
  EXPECT_FALSE(example.is_plain_pair);
  EXPECT_NE(error_of(R"({"prompt": [{"role": "user", "content": "u"}], "completion": "c"})").find("must both be"),
            std::string::npos);
}

TEST(RowFormat, AWrongMessageIsToldWithItsNumber) {
  const auto error = [](const std::string& messages) { return error_of(R"({"messages": )" + messages + "}"); };
  EXPECT_EQ(error("[]"), "f:1: messages is empty; expected at least one message");
  EXPECT_EQ(error(R"("hi")"), "f:1: messages must be a list of messages, it is a string");
  EXPECT_EQ(
      error(R"([{"role": "user", "content": "u"}, {"role": "asistant", "content": "a"}])"),
      "f:1: messages[1]: unknown role \"asistant\"; known are system, developer, user, assistant, tool, function, "
      "ipython");
  EXPECT_EQ(error(R"([{"content": "u"}])"), "f:1: messages[0] has no role (\"role\", or \"from\" as in ShareGPT)");
  EXPECT_EQ(error(R"([{"role": "user"}])"), "f:1: messages[0] has no content (a text; null only beside tool_calls)");
  EXPECT_EQ(error(R"([{"role": "user", "content": 3}])"), "f:1: messages[0]: content must be a text, it is an integer");
  EXPECT_NE(error(R"([{"role": "user", "content": [{"type": "image", "url": "x"}]}])").find("one is of type image"),
            std::string::npos);
  EXPECT_NE(error(R"([3])").find("messages[0] must be an object with role and content"), std::string::npos);
  EXPECT_NE(error_of(R"({"conversations": [{"from": "alien", "value": "x"}]})").find("unknown speaker \"alien\""),
            std::string::npos);
}

TEST(RowFormat, TextsMustBeTexts) {
  EXPECT_EQ(error_of(R"({"question": 3, "completion": "c"})", {{"prompt", "question"}}),
            "f:1: question must be a text, it is an integer");
  EXPECT_NE(error_of(R"({"text": ["a"]})").find("f:1: text must be a text"), std::string::npos);
}

}  // namespace
}  // namespace primus::data
