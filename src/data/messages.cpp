#include "data/messages.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace primus::data {
namespace {

using tokenizer::Dict;
using tokenizer::List;
using tokenizer::Value;
using namespace std::string_view_literals;

constexpr std::array kRoles = {"system"sv, "developer"sv, "user"sv, "assistant"sv, "tool"sv, "function"sv, "ipython"sv};

constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kSpeakers = {{{"system", "system"},
                                                                                      {"human", "user"},
                                                                                      {"user", "user"},
                                                                                      {"gpt", "assistant"},
                                                                                      {"assistant", "assistant"},
                                                                                      {"chatgpt", "assistant"},
                                                                                      {"bing", "assistant"},
                                                                                      {"bard", "assistant"},
                                                                                      {"model", "assistant"},
                                                                                      {"bot", "assistant"},
                                                                                      {"function_call", "assistant"},
                                                                                      {"tool", "tool"},
                                                                                      {"observation", "tool"},
                                                                                      {"function_response", "tool"},
                                                                                      {"developer", "developer"}}};

/// Messages that may come without content.
constexpr std::array kInsteadOfContent = {"tool_calls"sv, "function_call"sv, "reasoning_content"sv, "thinking"sv};

const Value* present(const Value& message, std::string_view key) {
  const Value* value = message.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void check_content(const Value& message, const Value* content, const std::string& where) {
  if (content == nullptr) {
    const bool has_other = std::any_of(kInsteadOfContent.begin(), kInsteadOfContent.end(),
                                       [&](std::string_view key) { return present(message, key) != nullptr; });
    if (!has_other) throw bad_input("{} has no content (a text; null only beside tool_calls)", where);
    return;
  }
  if (content->is_string()) return;
  if (!content->is_list()) {
    throw bad_input("{}: content must be a text, it is {}", where, content->kind_name());
  }
  for (const Value& part : content->as_list()) {
    const Value* type = part.find("type");
    const Value* text = part.find("text");
    if (type == nullptr || !type->is_string() || text == nullptr || !text->is_string()) {
      const std::string found =
          type != nullptr && type->is_string() ? "of type " + type->as_string() : std::string(part.kind_name());
      throw bad_input("{}: a part of the content must be {{\"type\": \"text\", \"text\": …}}, one is {}", where, found);
    }
  }
}

std::string role_of(const Value& role, bool is_speaker, const std::string& where) {
  if (!role.is_string()) throw bad_input("{}: the role must be a text, it is {}", where, role.kind_name());
  const std::string& name = role.as_string();
  if (std::find(kRoles.begin(), kRoles.end(), name) != kRoles.end()) return name;
  if (!is_speaker) throw bad_input("{}: unknown role \"{}\"; known are {}", where, name, fmt::join(kRoles, ", "));
  for (const auto& [speaker, meant] : kSpeakers) {
    if (speaker == name) return std::string(meant);
  }
  std::vector<std::string_view> known;
  known.reserve(kSpeakers.size());
  for (const auto& [speaker, meant] : kSpeakers) known.push_back(speaker);
  throw bad_input("{}: unknown speaker \"{}\"; known are {}", where, name, fmt::join(known, ", "));
}

Value read_message(const Value& message, const std::string& where) {
  if (!message.is_dict()) {
    throw bad_input("{} must be an object with role and content, it is {}", where, message.kind_name());
  }
  const Value* role = present(message, "role");
  const bool is_speaker = role == nullptr;
  if (is_speaker) role = present(message, "from");
  if (role == nullptr) throw bad_input("{} has no role (\"role\", or \"from\" as in ShareGPT)", where);
  const std::string meant = role_of(*role, is_speaker, where);
  const Value* content = present(message, is_speaker ? "value" : "content");
  if (content == nullptr) content = present(message, is_speaker ? "content" : "value");
  check_content(message, content, where);
  if (!is_speaker && content == present(message, "content")) return message;
  Dict renamed{{"role", Value(meant)}, {"content", content == nullptr ? Value() : *content}};
  for (const auto& [key, value] : message.as_dict()) {
    if (key != "from" && key != "value" && key != "role" && key != "content") renamed.set(key, value);
  }
  return Value(std::move(renamed));
}

}  // namespace

Value make_message(std::string role, std::string content) {
  return Dict{{"role", Value(std::move(role))}, {"content", Value(std::move(content))}};
}

List read_messages(const Value& list, const std::string& place, const std::string& column) {
  if (!list.is_list()) {
    throw bad_input("{}: {} must be a list of messages, it is {}", place, column, list.kind_name());
  }
  if (list.as_list().empty()) throw bad_input("{}: {} is empty; expected at least one message", place, column);
  List messages;
  messages.reserve(list.as_list().size());
  for (const Value& message : list.as_list()) {
    messages.push_back(read_message(message, fmt::format("{}: {}[{}]", place, column, messages.size())));
  }
  return messages;
}

}  // namespace primus::data
