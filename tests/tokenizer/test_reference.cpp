#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "helpers.h"

namespace primus::tokenizer {
namespace {

/// The folder named by PRIMUS_REFERENCE, or ../shared beside the sources; it holds tokenizers/ and
/// reference/text.jsonl.
std::filesystem::path reference_folder() {
  const char* named = std::getenv("PRIMUS_REFERENCE");
  return named != nullptr ? std::filesystem::path(named) : std::filesystem::path(PRIMUS_SOURCE_DIR) / ".." / "shared";
}

struct Model {
  Tokenizer tokenizer;
  ChatTemplate chat_template;
};

TEST(Reference, IdsAndRenderedTextEqualTransformers) {
  const auto folder = reference_folder();
  const auto file = folder / "reference" / "text.jsonl";
  if (!std::filesystem::exists(file)) {
    GTEST_SKIP() << "no reference data: set PRIMUS_REFERENCE to a folder with reference/text.jsonl and tokenizers/";
  }
  std::map<std::string, Model> models;
  const std::string rows = read_text(file);
  std::size_t line = 0, texts = 0, chats = 0, refused = 0;
  for (std::size_t at = 0; at < rows.size();) {
    const std::size_t end = rows.find('\n', at);
    const Value row = parse_json(std::string_view(rows).substr(at, end - at), "text.jsonl");
    at = end + 1;
    ++line;
    const std::string name = row.find("tokenizer")->as_string();
    if (!models.contains(name)) {
      Tokenizer tokenizer = Tokenizer::load(folder / "tokenizers" / name);
      ChatTemplate chat_template = ChatTemplate::of(tokenizer);
      models.emplace(name, Model{std::move(tokenizer), std::move(chat_template)});
    }
    const Model& model = models.at(name);
    if (row.find("kind")->as_string() == "text") {
      ++texts;
      const std::string& text = row.find("text")->as_string();
      EXPECT_EQ(model.tokenizer.encode(text), ids_of(*row.find("ids"))) << "row " << line << ": " << text;
      continue;
    }
    const Value& messages = *row.find("messages");
    const Value& tools = *row.find("tools");
    const bool prompt = row.find("add_generation_prompt")->as_bool();
    if (row.find("error") != nullptr) {
      ++refused;
      EXPECT_THROW(model.chat_template.render_text(messages, tools, prompt), Error) << "row " << line;
      continue;
    }
    ++chats;
    const std::string rendered = model.chat_template.render_text(messages, tools, prompt);
    EXPECT_EQ(rendered, row.find("rendered")->as_string()) << "row " << line;
    EXPECT_EQ(model.tokenizer.encode(rendered), ids_of(*row.find("ids"))) << "row " << line;
    if (!prompt) {
      const RenderedChat chat = model.chat_template.render(messages, tools);
      EXPECT_EQ(chat.text, rendered) << "row " << line;
      EXPECT_FALSE(chat.trained.empty()) << "row " << line;
    }
  }
  EXPECT_GT(texts, 0U);
  std::printf("%zu texts, %zu chats, %zu refused chats equal\n", texts, chats, refused);
}

TEST(Reference, RandomTextsComeBack) {
  const auto folder = reference_folder() / "tokenizers";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no reference data: set PRIMUS_REFERENCE";
  const Tokenizer llama = Tokenizer::load(folder / "llama3_1"), qwen = Tokenizer::load(folder / "qwen3");
  const Philox random{1, 2};
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const std::string text = random_text(random, i);
    EXPECT_EQ(llama.decode(llama.encode(text)), text);
    const std::string normal = qwen.decode(qwen.encode(text));  // in normal form C
    EXPECT_EQ(qwen.decode(qwen.encode(normal)), normal);
  }
}

}  // namespace
}  // namespace primus::tokenizer
