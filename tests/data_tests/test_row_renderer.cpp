#include <gtest/gtest.h>

#include "data/row_renderer.h"
#include "data_folder.h"
#include "tiny_tokenizer.h"

namespace primus::data {
namespace {

using testing::message_of;
using testing::tiny_text;
using testing::tiny_tokenizer;

struct Shown {
  std::string text;     // as tiny_text writes ids
  std::string trained;  // the same, '.' for what is not trained
  bool operator==(const Shown&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Shown& shown) {
  return out << "\n" << shown.text << "\n" << shown.trained << "\n";
}

RenderedRow render(const tokenizer::Tokenizer& tokenizer, const std::string& row, RowRenderer::Settings settings = {}) {
  const auto value = tokenizer::parse_json(row);
  const Example example = read_example(value, find_format(value, {}, "f:1"), {}, 0, "f:1");
  return RowRenderer(settings, &tokenizer).render(example, "f:1");
}

Shown show(const RenderedRow& row) {
  Shown shown;
  for (std::size_t t = 0; t < row.tokens.ids.size(); ++t) {
    const std::string token = tiny_text({row.tokens.ids[t]});
    shown.text += token;
    shown.trained += row.tokens.labels[t] == kNotTrained ? std::string(token.size(), '.') : token;
    if (row.tokens.labels[t] != kNotTrained) {
      EXPECT_EQ(row.tokens.labels[t], row.tokens.ids[t]);
    }
  }
  return shown;
}

constexpr const char* kPair = R"({"prompt": "ask:", "completion": "ok"})";

TEST(PlainRows, TextIsTrainedWholeWithItsEnd) {
  EXPECT_EQ(show(render(tiny_tokenizer(), R"({"text": "hi"})")), (Shown{"hi^", "hi^"}));
  EXPECT_EQ(show(render(tiny_tokenizer("", true), R"({"text": "hi"})")), (Shown{"~hi^", "~hi^"}));
  EXPECT_EQ(show(render(tiny_tokenizer(), R"({"text": "hi<|end|>"})")), (Shown{"hi^", "hi^"})) << "not ended twice";
  EXPECT_FALSE(render(tiny_tokenizer(), R"({"text": ""})").is_trained);
}

TEST(PlainRows, PairsTrainTheCompletionAndItsEnd) {
  EXPECT_EQ(show(render(tiny_tokenizer(), kPair)), (Shown{"ask:ok^", "....ok^"}));
  EXPECT_EQ(show(render(tiny_tokenizer("", true), kPair)), (Shown{"~ask:ok^", ".....ok^"}));
  EXPECT_EQ(show(render(tiny_tokenizer(), kPair, {.loss_mode = LossMode::kFull})), (Shown{"ask:ok^", "ask:ok^"}));
  EXPECT_EQ(show(render(tiny_tokenizer(), R"({"instruction": "do", "input": "x", "output": "y"})")),
            (Shown{"do\n\nx\n\ny^", ".......y^"}));
  EXPECT_EQ(show(render(tiny_tokenizer("", true), R"({"prompt": "", "completion": "y"})")), (Shown{"~y^", ".y^"}));
}

TEST(PlainRows, ATokenNeverReachesFromThePromptIntoTheCompletion) {
  EXPECT_EQ(show(render(tiny_tokenizer(), R"({"prompt": "a:", "completion": " Yes"})")),
            (Shown{"a:[ Y]es^", "..[ Y]es^"}));
  EXPECT_EQ(show(render(tiny_tokenizer(), R"({"prompt": "a: ", "completion": "Yes"})")), (Shown{"a: Yes^", "...Yes^"}))
      << "generation would see the space alone too";
}

TEST(PlainRows, AreCutAtTheRight) {
  const RenderedRow row = render(tiny_tokenizer(), kPair, {.seq_length = 5});
  EXPECT_EQ(show(row), (Shown{"ask:o", "....o"}));
  EXPECT_EQ(row.cut_tokens, 2);
  EXPECT_TRUE(row.is_trained);
  EXPECT_FALSE(render(tiny_tokenizer(), kPair, {.seq_length = 4}).is_trained);
}

TEST(PlainRows, IdsBeyondTheModelAreToldByTheirToken) {
  EXPECT_EQ(message_of([] { render(tiny_tokenizer(), kPair, {.vocabulary_size = 258}); }),
            "f:1: token \"<|end|>\" has id 258, but the model's vocabulary has 258 ids; the tokenizer belongs to "
            "another model");
}

}  // namespace
}  // namespace primus::data
