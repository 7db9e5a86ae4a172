#include "data/chat_renderer.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"

namespace primus::data {
namespace {

using tokenizer::ChatTemplate;
using tokenizer::TrainedSpan;

bool is_assistant(const tokenizer::Value& message) {
  const tokenizer::Value* role = message.find("role");
  return role != nullptr && role->is_string() && role->as_string() == "assistant";
}

/// The spans that messages from `first` on wrote. Spans that do not know their message (generation blocks) are taken to
/// be the last ones, one for each assistant message.
std::vector<TrainedSpan> spans_from(const std::vector<TrainedSpan>& spans, const tokenizer::List& messages,
                                    std::size_t first) {
  std::vector<TrainedSpan> kept;
  if (std::any_of(spans.begin(), spans.end(), [](const TrainedSpan& span) { return span.message < 0; })) {
    const auto begin = messages.begin() + static_cast<std::ptrdiff_t>(first);
    const auto turns = static_cast<std::size_t>(std::count_if(begin, messages.end(), is_assistant));
    kept.assign(spans.end() - static_cast<std::ptrdiff_t>(std::min(turns, spans.size())), spans.end());
    return kept;
  }
  std::copy_if(spans.begin(), spans.end(), std::back_inserter(kept),
               [&](const TrainedSpan& span) { return static_cast<std::size_t>(span.message) >= first; });
  return kept;
}

/// Appends the name of {"function": {"name": …}} or {"name": …} when it is of letters that no template escapes.
void add_function_name(const tokenizer::Value& value, std::vector<std::string>& names) {
  const tokenizer::Value* function = value.find("function");
  const tokenizer::Value* name = (function == nullptr ? value : *function).find("name");
  if (name == nullptr || !name->is_string() || name->as_string().empty()) return;
  const std::string& text = name->as_string();
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return letter == '_' || letter == '-' || letter == '.' || (letter < 0x80 && std::isalnum(letter) != 0);
  });
  if (plain) names.push_back(text);
}

std::vector<std::string> function_names(const tokenizer::Value& list) {
  std::vector<std::string> names;
  if (!list.is_list()) return names;
  for (const tokenizer::Value& value : list.as_list()) add_function_name(value, names);
  return names;
}

std::vector<std::string> called_functions(const tokenizer::List& messages) {
  std::vector<std::string> names;
  for (const tokenizer::Value& message : messages) {
    const tokenizer::Value* calls = message.find("tool_calls");
    if (calls == nullptr) continue;
    for (std::string& name : function_names(*calls)) names.push_back(std::move(name));
  }
  return names;
}

bool has_content_in_parts(const tokenizer::List& messages) {
  return std::any_of(messages.begin(), messages.end(), [](const tokenizer::Value& message) {
    const tokenizer::Value* content = message.find("content");
    return content != nullptr && content->is_list();
  });
}

/// Whether a template that wrote `text` passed over the row's tools, or over all of its tool calls.
bool lacks_tools(const Example& example, std::string_view text) {
  const auto lacks_all = [&](const std::vector<std::string>& names) {
    return !names.empty() && std::none_of(names.begin(), names.end(), [&](const std::string& name) {
      return text.find(name) != std::string_view::npos;
    });
  };
  return lacks_all(function_names(example.tools)) || lacks_all(called_functions(example.messages));
}

}  // namespace

ChatRenderer::ChatRenderer(const tokenizer::Tokenizer& tokenizer, const std::string& choice, LossMode loss_mode)
    : tokenizer_(&tokenizer), loss_mode_(loss_mode), template_(ChatTemplate::of(tokenizer, choice)) {}

std::string ChatRenderer::fingerprint() const {
  std::string all = template_.source();
  if (all.find("strftime_now") != std::string::npos) {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    all += fmt::format("{}-{}", local.tm_year, local.tm_yday);
  }
  return sha256(all);
}

std::vector<TrainedSpan> ChatRenderer::choose(const Example& example, const std::vector<TrainedSpan>& assistant) const {
  LossMode mode = loss_mode_;
  if (mode == LossMode::kDefault) mode = example.is_pair ? LossMode::kCompletion : LossMode::kAssistant;
  if (mode == LossMode::kLastTurn || (mode == LossMode::kCompletion && !example.is_pair)) {
    return tokenizer::last_turn(assistant);
  }
  if (mode == LossMode::kCompletion) return spans_from(assistant, example.messages, example.completion_begins);
  return assistant;
}

TokenRow ChatRenderer::render(const Example& example) const {
  try {
    return tokenize(example);
  } catch (const Error& error) {
    if (!has_content_in_parts(example.messages)) throw;
    throw Error(
        std::string(error.what()) +
            ". The row has content in parts ([{\"type\": \"text\", …}]), which this template may not take: write "
            "it as one text",
        error.code());
  }
}

TokenRow ChatRenderer::tokenize(const Example& example) const {
  const tokenizer::Value messages(example.messages);
  const tokenizer::Value& variables = example.template_variables;
  if (loss_mode_ == LossMode::kFull) {
    TokenRow row;
    const std::string text = template_.render_text(messages, example.tools, false, variables);
    row.ids = tokenizer_->encode(text);
    row.labels = row.ids;
    row.lacks_tools = lacks_tools(example, text);
    return row;
  }
  const tokenizer::RenderedChat rendered = template_.render(messages, example.tools, variables);
  tokenizer::MaskedIds masked = tokenizer_->encode_with_mask(rendered.text, choose(example, rendered.trained));
  TokenRow row;
  row.labels.reserve(masked.ids.size());
  for (std::size_t t = 0; t < masked.ids.size(); ++t) {
    row.labels.push_back(masked.trained[t] != 0 ? masked.ids[t] : kNotTrained);
  }
  row.ids = std::move(masked.ids);
  row.lacks_tools = lacks_tools(example, rendered.text);
  return row;
}

}  // namespace primus::data
