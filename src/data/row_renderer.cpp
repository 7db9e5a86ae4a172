#include "data/row_renderer.h"

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "data/chat_renderer.h"

namespace primus::data {
namespace {

constexpr std::string_view kNoTemplate = "none";

/// Ids of a text with what the tokenizer adds in front, without what it adds behind.
std::vector<std::int32_t> encode_prompt(const tokenizer::Tokenizer& tokenizer, std::string_view text) {
  tokenizer::Encoding encoding = tokenizer.encode_with_offsets(text, true);
  if (text.empty()) return encoding.ids;
  std::size_t size = encoding.ids.size();
  while (size > 0 && encoding.offsets[size - 1].begin == encoding.offsets[size - 1].end) --size;
  encoding.ids.resize(size);
  return encoding.ids;
}

}  // namespace

RowRenderer::RowRenderer(Settings settings, const tokenizer::Tokenizer* tokenizer)
    : settings_(std::move(settings)), tokenizer_(tokenizer) {
  const std::string& choice = settings_.chat_template;
  if (tokenizer_ == nullptr || choice == kNoTemplate) return;
  if (choice.empty() && tokenizer_->chat_templates().empty()) return;
  chat_ = std::make_unique<const ChatRenderer>(*tokenizer_, choice, settings_.loss_mode);
}

RowRenderer::~RowRenderer() = default;
RowRenderer::RowRenderer(RowRenderer&&) noexcept = default;

TokenRow RowRenderer::render_whole(Example example, const std::string& place) const {
  try {
    TokenRow row = tokenize(example);
    check_ids(row);
    return row;
  } catch (const Error& error) {
    throw Error(place + ": " + error.what(), error.code());
  }
}

RenderedRow RowRenderer::render(Example example, const std::string& place) const {
  RenderedRow row{.tokens = render_whole(std::move(example), place)};
  TokenRow& tokens = row.tokens;
  const auto limit = static_cast<std::size_t>(settings_.seq_length);
  if (tokens.ids.size() > limit) {
    row.cut_tokens = static_cast<std::int64_t>(tokens.ids.size() - limit);
    tokens.ids.resize(limit);
    tokens.labels.resize(limit);
  }
  row.is_trained = std::any_of(tokens.labels.begin() + (tokens.labels.empty() ? 0 : 1), tokens.labels.end(),
                               [](std::int32_t label) { return label != kNotTrained; });
  return row;
}

std::string RowRenderer::fingerprint() const {
  return sha256(fmt::format("{} {} {} {} {}", static_cast<int>(settings_.loss_mode), settings_.seq_length,
                            settings_.vocabulary_size, settings_.chat_template == kNoTemplate,
                            chat_ == nullptr ? "" : chat_->fingerprint()));
}

std::string RowRenderer::describe(RowFormat format) const {
  if (format == RowFormat::kInputIds) return "as they are";
  if (format == RowFormat::kText) return "whole, with the end-of-text token";
  if (chat_ != nullptr) return fmt::format("through the chat template ({})", chat_->name());
  return "as plain text with the end-of-text token (no chat template)";
}

TokenRow RowRenderer::tokenize(Example& example) const {
  if (example.format == RowFormat::kInputIds) return {std::move(example.ids), std::move(example.labels)};
  if (tokenizer_ == nullptr) {
    throw bad_input(
        "rows of format {} need a tokenizer, and the checkpoint has no tokenizer.json (rows of input_ids "
        "need none)",
        name_of(example.format));
  }
  if (example.format == RowFormat::kText) return render_text(example);
  if (chat_ != nullptr) return chat_->render(example);
  if (example.is_plain_pair) return render_plain_pair(example);
  if (settings_.chat_template == kNoTemplate) {
    throw bad_input("chats cannot be rendered with chat_template: none; leave it out or name a template");
  }
  return ChatRenderer(*tokenizer_, "", settings_.loss_mode).render(example);  // tells which templates there are
}

TokenRow RowRenderer::render_plain_pair(const Example& example) const {
  const std::string prompt = example.prompt + (example.format == RowFormat::kInstruction ? "\n\n" : "");
  TokenRow row;
  row.ids = encode_prompt(*tokenizer_, prompt);
  const std::size_t prompt_size = row.ids.size();
  // Tokenized together where the prompt keeps its ids (a word at the start of a text may be another token than after
  // the prompt), else on their own.
  const std::vector<std::int32_t> whole = encode_prompt(*tokenizer_, prompt + example.text);
  if (whole.size() >= prompt_size && std::equal(row.ids.begin(), row.ids.end(), whole.begin())) {
    row.ids = whole;
  } else {
    const auto completion = tokenizer_->encode(example.text);
    row.ids.insert(row.ids.end(), completion.begin(), completion.end());
  }
  const bool full = settings_.loss_mode == LossMode::kFull;
  row.labels.assign(prompt_size, kNotTrained);
  if (full) std::copy_n(row.ids.begin(), prompt_size, row.labels.begin());
  row.labels.insert(row.labels.end(), row.ids.begin() + static_cast<std::ptrdiff_t>(prompt_size), row.ids.end());
  append_end(row);
  return row;
}

TokenRow RowRenderer::render_text(const Example& example) const {
  TokenRow row;
  row.ids = tokenizer_->encode(example.text, true);
  row.labels = row.ids;
  append_end(row);
  return row;
}

void RowRenderer::append_end(TokenRow& row) const {
  const auto end = tokenizer_->eos_id();
  if (!end || (!row.ids.empty() && row.ids.back() == *end)) return;
  row.ids.push_back(*end);
  row.labels.push_back(*end);
}

void RowRenderer::check_ids(const TokenRow& row) const {
  if (settings_.vocabulary_size <= 0 || tokenizer_ == nullptr) return;
  for (const std::int32_t id : row.ids) {
    if (id >= settings_.vocabulary_size) {
      throw bad_input(
          "token \"{}\" has id {}, but the model's vocabulary has {} ids; the tokenizer belongs to another "
          "model",
          tokenizer_->id_to_token(id), id, settings_.vocabulary_size);
    }
  }
}

}  // namespace primus::data
