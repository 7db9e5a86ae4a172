#include <gtest/gtest.h>

#include <map>

#include "helpers.h"

namespace primus::tokenizer {
namespace {

/// jinja.jsonl holds what transformers' environment renders, or that it refuses (data/make_expected.py).
TEST(Jinja, SnippetsEqualTransformers) {
  const std::vector<Value> rows = rows_of("jinja.jsonl");
  ASSERT_GT(rows.size(), 90U);
  const Value context = *rows[0].find("context");
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const std::string& source = rows[i].find("source")->as_string();
    const auto render = [&] {
      return ChatTemplate(source, "snippet").render_text(*context.find("messages"), Value(), false, context);
    };
    if (const Value* error = rows[i].find("error")) {
      EXPECT_THROW(render(), Error) << source << "\n" << error->as_string();
      continue;
    }
    try {
      EXPECT_EQ(render(), rows[i].find("rendered")->as_string()) << source;
    } catch (const std::exception& error) {
      ADD_FAILURE() << source << "\n" << error.what();
    }
  }
}

/// templates.jsonl: templates in the shapes of well-known models (data/templates), rendered by transformers.
TEST(Templates, RenderedTextEqualsTransformers) {
  const Value specials(Dict{{"bos_token", Value("<s>")}, {"eos_token", Value("</s>")}});
  std::map<std::string, std::unique_ptr<ChatTemplate>> templates;
  const std::filesystem::path folder = kData + "templates";
  std::size_t equal = 0, refused = 0;
  for (const Value& row : rows_of("templates.jsonl")) {
    const std::string& name = row.find("template")->as_string();
    auto& chat_template = templates[name];
    if (!chat_template) {
      chat_template = std::make_unique<ChatTemplate>(read_text(folder / name), name, specials);
    }
    const auto render = [&] {
      return chat_template->render_text(*row.find("messages"), *row.find("tools"),
                                        row.find("add_generation_prompt")->as_bool(), *row.find("extra"));
    };
    const std::string title = name + " " + to_json(*row.find("messages")) + to_json(*row.find("extra"));
    if (row.find("error") != nullptr) {
      EXPECT_THROW(render(), Error) << title;
      ++refused;
      continue;
    }
    try {
      EXPECT_EQ(render(), row.find("rendered")->as_string()) << title;
      ++equal;
    } catch (const std::exception& error) {
      ADD_FAILURE() << title << "\n" << error.what();
    }
  }
  EXPECT_GT(equal, 200U);
  EXPECT_GT(refused, 10U);
}

}  // namespace
}  // namespace primus::tokenizer
