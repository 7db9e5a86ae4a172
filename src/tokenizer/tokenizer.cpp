#include "tokenizer/tokenizer.h"

#include <limits>

#include "base/error.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer {
namespace {

/// Collects ids, and where they came from when that is asked for.
class Encoder {
 public:
  Encoder(const Tokenizer::Parts& parts, bool want_offsets) : parts_(parts) { out_.want_lengths = want_offsets; }

  void add_special(const std::vector<TokenId>& ids, std::size_t at) {
    for (const TokenId id : ids) add_token(id, at, at);
  }

  void add_text(std::string_view text) {
    parts_.in_text.split(text, [&](std::size_t begin, std::size_t end, const AddedToken* token) {
      if (token != nullptr) {
        add_token(token->id, begin, end);
      } else {
        add_segment(text.substr(begin, end - begin), begin);
      }
    });
  }

  std::vector<TokenId> take_ids() { return std::move(out_.ids); }
  std::vector<ByteSpan> take_offsets() { return std::move(offsets_); }

 private:
  void add_token(TokenId id, std::size_t begin, std::size_t end) {
    out_.ids.push_back(id);
    if (out_.want_lengths) offsets_.push_back({begin, end});
  }

  void add_segment(std::string_view segment, std::size_t base) {
    AlignedText text(segment, base, out_.want_lengths);
    if (parts_.normalizer) parts_.normalizer->apply(text);
    if (parts_.in_normalized.empty()) {
      add_words(text);
      return;
    }
    parts_.in_normalized.split(text.view(), [&](std::size_t begin, std::size_t end, const AddedToken* token) {
      if (token != nullptr) {
        add_token(token->id, text.origin(begin), text.origin(end));
      } else {
        add_words(text.slice(begin, end));
      }
    });
  }

  void add_words(const AlignedText& text) {
    if (text.size() == 0) return;
    Words words{text, {{0, static_cast<std::uint32_t>(text.size())}}};
    if (parts_.pre_tokenizer.step) parts_.pre_tokenizer.step->apply(words);
    const std::string_view view = words.text.view();
    for (const Words::Span span : words.spans) {
      out_.lengths.clear();
      parts_.model->encode(view.substr(span.begin, span.end - span.begin), out_);
      std::size_t at = span.begin;
      for (const std::uint32_t length : out_.lengths) {
        const std::size_t end = std::min<std::size_t>(at + length, span.end);
        offsets_.push_back({words.text.origin(at), words.text.origin(end)});
        at = end;
      }
    }
  }

  const Tokenizer::Parts& parts_;
  BpeOutput out_;
  std::vector<ByteSpan> offsets_;
};

void check_text(std::string_view text) {
  if (text.size() >= std::numeric_limits<std::uint32_t>::max() / 4) {
    throw bad_input("a text of {} bytes is too long to be tokenized at once (less than 1 GiB is possible)",
                    text.size());
  }
  if (const std::size_t bad = unicode::find_invalid(text); bad != std::string_view::npos) {
    throw bad_input("the text is not valid UTF-8 at byte {} (0x{:02x})", bad, static_cast<unsigned char>(text[bad]));
  }
}

Encoder run(const Tokenizer::Parts& parts, std::string_view text, bool add_special, bool want_offsets) {
  check_text(text);
  Encoder encoder(parts, want_offsets);
  if (add_special) encoder.add_special(parts.post_processor.before, 0);
  encoder.add_text(text);
  if (add_special) encoder.add_special(parts.post_processor.after, text.size());
  return encoder;
}

std::optional<TokenId> named_id(const Tokenizer& tokenizer, std::string_view key) {
  const Value* text = tokenizer.special_tokens_map().find(key);
  return text == nullptr ? std::nullopt : tokenizer.token_to_id(text->as_string());
}

}  // namespace

Decoder::Token Tokenizer::Parts::token(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= vocabulary.size()) {
    throw bad_input("{}: no token has the id {} (0 to {} exist)", name, id, vocabulary.size() - 1);
  }
  return {vocabulary.text(id), added_index.contains(id)};
}

const AddedToken* Tokenizer::Parts::find_added(TokenId id) const {
  const auto found = added_index.find(id);
  return found == added_index.end() ? nullptr : &added[found->second];
}

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool add_special) const {
  return run(*parts_, text, add_special, false).take_ids();
}

Encoding Tokenizer::encode_with_offsets(std::string_view text, bool add_special) const {
  Encoder encoder = run(*parts_, text, add_special, true);
  Encoding encoding{encoder.take_ids(), encoder.take_offsets()};
  PRIMUS_CHECK(encoding.ids.size() == encoding.offsets.size(), encoding.ids.size(), encoding.offsets.size());
  return encoding;
}

MaskedIds Tokenizer::encode_with_mask(std::string_view text, std::span<const TrainedSpan> spans) const {
  Encoding encoding = encode_with_offsets(text);
  MaskedIds masked{std::move(encoding.ids), std::vector<std::uint8_t>(encoding.offsets.size(), 0)};
  std::size_t span = 0;
  for (std::size_t i = 0; i < encoding.offsets.size(); ++i) {
    const std::size_t begin = encoding.offsets[i].begin;
    while (span < spans.size() && spans[span].end <= begin) ++span;
    if (span == spans.size()) break;
    masked.trained[i] = begin >= spans[span].begin;
  }
  return masked;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::vector<Decoder::Token> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const Decoder::Token token = parts_->token(id);
    if (skip_special && token.added && is_special(id)) continue;
    tokens.push_back(token);
  }
  return parts_->decoder->decode(tokens);
}

std::size_t Tokenizer::vocabulary_size() const { return parts_->vocabulary.size(); }
std::optional<TokenId> Tokenizer::token_to_id(std::string_view token) const { return parts_->vocabulary.find(token); }
std::string Tokenizer::id_to_token(TokenId id) const { return std::string(parts_->token(id).text); }

bool Tokenizer::is_special(TokenId id) const {
  const AddedToken* token = parts_->find_added(id);
  return token != nullptr && token->special;
}

const std::vector<AddedToken>& Tokenizer::added_tokens() const { return parts_->added; }
std::optional<TokenId> Tokenizer::bos_id() const { return named_id(*this, "bos_token"); }
std::optional<TokenId> Tokenizer::eos_id() const { return named_id(*this, "eos_token"); }
std::optional<TokenId> Tokenizer::pad_id() const { return named_id(*this, "pad_token"); }
const Value& Tokenizer::special_tokens_map() const { return parts_->config.special_tokens_map; }
const std::vector<NamedTemplate>& Tokenizer::chat_templates() const { return parts_->config.templates; }
const std::string& Tokenizer::fingerprint() const { return parts_->fingerprint; }

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

std::string StreamDecoder::push(TokenId id) {
  const Decoder::Token token = tokenizer_->parts_->token(id);
  if (skip_special_ && token.added && tokenizer_->is_special(id)) return "";
  pending_ += tokenizer_->parts_->decoder->decode_one(token, first_);
  first_ = false;
  const std::size_t whole = pending_.size() - unicode::incomplete_tail(pending_);
  std::string text = unicode::replace_invalid(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = unicode::replace_invalid(pending_);
  pending_.clear();
  return text;
}

}  // namespace primus::tokenizer
