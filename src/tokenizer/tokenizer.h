#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/value.h"

namespace primus::tokenizer {

using TokenId = std::int32_t;

/// Bytes [begin, end) of a text.
struct ByteSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool operator==(const ByteSpan&) const = default;
};

/// Bytes of a rendered chat that are trained, and the message that wrote them (-1: not known).
struct TrainedSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  int message = -1;
  bool operator==(const TrainedSpan&) const = default;
};

/// ids[i] comes from bytes offsets[i] of the text as it was given (before normalization). Tokens that the
/// post-processor adds have empty spans.
struct Encoding {
  std::vector<TokenId> ids;
  std::vector<ByteSpan> offsets;
};

/// trained[i] is 1 when token i begins inside a trained span.
struct MaskedIds {
  std::vector<TokenId> ids;
  std::vector<std::uint8_t> trained;
};

/// One chat template of a checkpoint: "default", or a purpose such as "tool_use".
struct NamedTemplate {
  std::string name;
  std::string source;
  std::string file;  // where it was read, for messages
};

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
};

/// The tokenizer of a Hugging Face checkpoint: byte-pair encoding, byte-level (GPT-2, Llama 3, Qwen, SmolLM) or with
/// byte fallback (Llama 2, Mistral, Gemma). Gives the ids that the Hugging Face `tokenizers` library gives. All const
/// members may be called from many threads at once.
class Tokenizer {
 public:
  /// Reads tokenizer.json of a checkpoint folder, and beside it, when there are: tokenizer_config.json,
  /// special_tokens_map.json, chat_template.jinja, additional_chat_templates/*.jinja.
  /// Throws Error naming the file, what is wrong or not supported, and what is supported.
  static Tokenizer load(const std::filesystem::path& folder);
  /// From the text of a tokenizer.json (and of a tokenizer_config.json, or empty); `name` leads messages.
  static Tokenizer parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json = "",
                         const std::string& name = "tokenizer.json");

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Text (UTF-8) to ids. Added and special tokens that stand in the text become their ids; `add_special` also adds
  /// what the post-processor adds (a beginning-of-text token for Llama). Throws Error on invalid UTF-8, saying where.
  std::vector<TokenId> encode(std::string_view text, bool add_special = false) const;
  /// The same with the bytes that each token came from.
  Encoding encode_with_offsets(std::string_view text, bool add_special = false) const;
  /// A rendered chat to ids with the loss mask. `spans` are ascending and do not overlap.
  MaskedIds encode_with_mask(std::string_view text, std::span<const TrainedSpan> spans) const;

  /// Ids to text. Bytes that are no UTF-8 become U+FFFD. Throws Error on an id out of range.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;

  /// Ids go from 0 to vocabulary_size() - 1, added tokens included (holes are possible).
  std::size_t vocabulary_size() const;
  std::optional<TokenId> token_to_id(std::string_view token) const;
  /// The token as tokenizer.json writes it ("Ġthe"); empty for a hole. Throws Error on an id out of range.
  std::string id_to_token(TokenId id) const;
  bool is_special(TokenId id) const;

  const std::vector<AddedToken>& added_tokens() const;
  std::optional<TokenId> bos_id() const;
  std::optional<TokenId> eos_id() const;
  std::optional<TokenId> pad_id() const;
  /// {"bos_token": "…", "eos_token": "…", …}: what transformers hands to chat templates.
  const Value& special_tokens_map() const;
  const std::vector<NamedTemplate>& chat_templates() const;
  /// A digest (64 hexadecimal digits) of tokenizer.json and of the files beside it that change ids, special tokens or
  /// templates: a key for caches.
  const std::string& fingerprint() const;

  struct Parts;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

/// Decodes one id at a time: what `push` returns is whole characters, bytes of a character that is not complete yet
/// wait for the next id. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);

  std::string push(TokenId id);
  /// What still waits, with U+FFFD for bytes that never became a character.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool first_ = true;
  std::string pending_;
};

}  // namespace primus::tokenizer
