#include <gtest/gtest.h>

#include "data/row_renderer.h"
#include "data_folder.h"
#include "show_row.h"
#include "tiny_tokenizer.h"

namespace primus::data {
namespace {

using testing::message_of;
using testing::render;
using testing::show;
using testing::Shown;
using testing::tiny_tokenizer;

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
            (Shown{"do\n\nx\n\ny^", "..\n\n.\n\ny^"}));
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
