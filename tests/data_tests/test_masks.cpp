#include <gtest/gtest.h>

#include "show_row.h"

/// Every format in every loss mode: the ids, and of them those that are trained.
namespace primus::data {
namespace {

struct Case {
  const char* name;
  const char* row;
  const char* text;        // as tiny_ids reads it: '{' <|im_start|>, '}' <|im_end|>, '^' the end-of-text token
  const char* trained[5];  // in each of kModes; '.': not trained
};

constexpr LossMode kModes[] = {LossMode::kDefault, LossMode::kAssistant, LossMode::kLastTurn, LossMode::kCompletion,
                               LossMode::kFull};

// clang-format off
constexpr Case kCases[] = {
    {"messages",
     R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]})",
     "{user\na}\n{assistant\nb}\n{user\nc}\n{assistant\nd}\n",
     {"....................b}.....................d}.",
      "....................b}.....................d}.",
      "...........................................d}.",
      "...........................................d}.",
      "{user\na}\n{assistant\nb}\n{user\nc}\n{assistant\nd}\n"}},
    {"conversations",
     R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]})",
     "{user\na}\n{assistant\nb}\n{user\nc}\n{assistant\nd}\n",
     {"....................b}.....................d}.",
      "....................b}.....................d}.",
      "...........................................d}.",
      "...........................................d}.",
      "{user\na}\n{assistant\nb}\n{user\nc}\n{assistant\nd}\n"}},
    {"prompt_completion",
     R"({"prompt": "a", "completion": "b"})",
     "{user\na}\n{assistant\nb}\n",
     {"....................b}.",
      "....................b}.",
      "....................b}.",
      "....................b}.",
      "{user\na}\n{assistant\nb}\n"}},
    {"prompt_completion_of_messages",
     R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]})",
     "{user\na}\n{assistant\nb}\n{user\nc}\n{assistant\nd}\n",
     {"...........................................d}.",
      "....................b}.....................d}.",
      "...........................................d}.",
      "...........................................d}.",
      "{user\na}\n{assistant\nb}\n{user\nc}\n{assistant\nd}\n"}},
    {"input_output",
     R"({"input": "a", "output": "b"})",
     "{user\na}\n{assistant\nb}\n",
     {"....................b}.",
      "....................b}.",
      "....................b}.",
      "....................b}.",
      "{user\na}\n{assistant\nb}\n"}},
    {"instruction",
     R"({"instruction": "a", "input": "i", "output": "b"})",
     "{user\na\n\ni}\n{assistant\nb}\n",
     {".......................b}.",
      ".......................b}.",
      ".......................b}.",
      ".......................b}.",
      "{user\na\n\ni}\n{assistant\nb}\n"}},
    {"text",
     R"({"text": "ab"})",
     "ab^",
     {"ab^",
      "ab^",
      "ab^",
      "ab^",
      "ab^"}},
    {"input_ids",
     R"({"input_ids": [97, 98, 99], "labels": [-100, 98, -100]})",
     "abc",
     {".b.",
      ".b.",
      ".b.",
      ".b.",
      ".b."}},
};
// clang-format on

class Masks : public ::testing::TestWithParam<Case> {};

TEST_P(Masks, AreTheExpectedIdsInEveryLossMode) {
  const auto tokenizer = testing::tiny_tokenizer(testing::chatml());
  for (std::size_t mode = 0; mode < std::size(kModes); ++mode) {
    const RenderedRow row = testing::render(tokenizer, GetParam().row, {.loss_mode = kModes[mode]});
    const std::vector<std::int32_t> ids = testing::tiny_ids(GetParam().text);
    const std::string_view trained = GetParam().trained[mode];
    ASSERT_EQ(trained.size(), ids.size());
    std::vector<std::int32_t> labels = ids;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      if (trained[t] == '.') labels[t] = kNotTrained;
    }
    EXPECT_EQ(row.tokens.ids, ids) << "mode " << mode;
    EXPECT_EQ(row.tokens.labels, labels) << "mode " << mode;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Masks, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace primus::data
