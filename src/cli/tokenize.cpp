#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/terminal_text.h"
#include "tokenizer/chat_template.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

using tokenizer::Dict;
using tokenizer::Value;

constexpr const char* kExpected =
    "expected {\"text\": …, \"add_special_tokens\"?} or {\"messages\": […], \"tools\"?, \"add_generation_prompt\"?, "
    "\"chat_template_kwargs\"?}";

/// A member that may be missing or null.
const Value* optional_member(const Value& row, std::string_view key) {
  const Value* value = row.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool flag(const Value& row, std::string_view key) {
  const Value* value = optional_member(row, key);
  if (value == nullptr) return false;
  if (!value->is_bool()) throw bad_input("\"{}\" must be true or false, it is {}", key, value->kind_name());
  return value->as_bool();
}

void check_keys(const Value& row, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : row.as_dict()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw bad_input("unknown key \"{}\"; {}", key, kExpected);
    }
  }
}

struct Tokenized {
  std::string rendered;
  std::vector<std::int32_t> ids;
};

class RowTokenizer {
 public:
  RowTokenizer(const tokenizer::Tokenizer& tokenizer, std::string chat_template)
      : tokenizer_(&tokenizer), choice_(std::move(chat_template)) {}

  Tokenized tokenize(const Value& row) {
    if (!row.is_dict()) throw bad_input("a row is {}; {}", row.kind_name(), kExpected);
    if (optional_member(row, "text") != nullptr) return tokenize_text(row);
    if (optional_member(row, "messages") != nullptr) return tokenize_chat(row);
    throw bad_input("neither \"text\" nor \"messages\"; {}", kExpected);
  }

 private:
  Tokenized tokenize_text(const Value& row) const {
    check_keys(row, {"text", "add_special_tokens"});
    const Value& text = *row.find("text");
    if (!text.is_string()) throw bad_input("\"text\" must be a text, it is {}", text.kind_name());
    return {text.as_string(), tokenizer_->encode(text.as_string(), flag(row, "add_special_tokens"))};
  }

  Tokenized tokenize_chat(const Value& row) {
    check_keys(row, {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"});
    if (!template_) template_.emplace(tokenizer::ChatTemplate::of(*tokenizer_, choice_));
    const Value* tools = optional_member(row, "tools");
    const Value* extra = optional_member(row, "chat_template_kwargs");
    if (extra != nullptr && !extra->is_dict()) {
      throw bad_input("\"chat_template_kwargs\" must be an object, it is {}", extra->kind_name());
    }
    std::string rendered =
        template_->render_text(*row.find("messages"), tools == nullptr ? Value() : *tools,
                               flag(row, "add_generation_prompt"), extra == nullptr ? Value(Dict{}) : *extra);
    std::vector<std::int32_t> ids = tokenizer_->encode(rendered);
    return {std::move(rendered), std::move(ids)};
  }

  const tokenizer::Tokenizer* tokenizer_;
  std::string choice_;
  std::optional<tokenizer::ChatTemplate> template_;  // compiled for the first chat
};

void print_json(const Tokenized& row) {
  tokenizer::List ids(row.ids.begin(), row.ids.end());
  fmt::print("{}\n",
             tokenizer::to_json(Value(Dict{{"rendered", Value(row.rendered)}, {"ids", Value(std::move(ids))}})));
}

void print_for_people(const Tokenized& row, const tokenizer::Tokenizer& tokenizer) {
  fmt::print("{}\n{} tokens\n", visible(row.rendered), row.ids.size());
  for (const std::int32_t id : row.ids) fmt::print("{:>8}  {}\n", id, visible(tokenizer.id_to_token(id)));
}

int run(const Arguments& arguments) {
  const auto tokenizer = tokenizer::Tokenizer::load(
      train::resolve_checkpoint(arguments.text("model"), train::CheckpointParts::kWithoutWeights, "--model"));
  RowTokenizer rows(tokenizer, arguments.text("chat-template"));
  const bool for_people = !arguments.has("json") && ::isatty(STDOUT_FILENO) == 1;
  std::string line;
  for (std::int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Tokenized row;
    try {
      row = rows.tokenize(tokenizer::parse_json(line, "row"));
    } catch (const Error& error) {
      throw Error(fmt::format("standard input, line {}: {}", number, error.what()), error.code());
    }
    if (for_people) {
      print_for_people(row, tokenizer);
    } else {
      print_json(row);
    }
    std::fflush(stdout);  // another program may wait for the answer to its line
  }
  return 0;
}

}  // namespace

Command tokenize_command() {
  return {
      .name = "tokenize",
      .summary = "Texts and chats to token ids, as training renders and tokenizes them",
      .details =
          "Reads lines of JSON from standard input, {\"text\"} or {\"messages\", \"tools\", "
          "\"add_generation_prompt\"},\n"
          "and writes for each a line {\"rendered\", \"ids\"}; on a terminal, unless --json is given, a list of its "
          "tokens.",
      .options = {{"model", "DIR", "a folder with tokenizer.json, or a hub id", true},
                  {"chat-template", "NAME", "a file, or a built-in template, instead of the model's own"},
                  {"json", "", "lines of JSON on a terminal too"}},
      .run = run};
}

}  // namespace primus::cli
