#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/regex.h"

namespace primus::tokenizer {

/// tokenizer.json's "decoder": tokens to text.
class Decoder {
 public:
  /// Supported: ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence. Throws Error with `where` on any
  /// other.
  Decoder(const Value& spec, const std::string& where);

  /// A token as the vocabulary writes it, or an added token as people write it.
  struct Token {
    std::string_view text;
    bool added = false;
  };

  /// The whole text; bytes that are no UTF-8 become U+FFFD.
  std::string decode(const std::vector<Token>& tokens) const;
  /// The bytes that one token of a stream gives, perhaps part of a character. `first`: nothing came before it.
  std::string decode_one(Token token, bool first) const;

 private:
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct ByteFallback {};
  struct Fuse {};
  struct Strip {
    std::string content;
    std::size_t start, stop;
  };
  struct Metaspace {
    std::string mark;
    bool drop_first;
  };
  using Step = std::variant<Replace, ByteFallback, Fuse, Strip, Metaspace>;

  void add(const Value& spec, const std::string& where);

  bool byte_level_ = false;
  bool joined_by_spaces_ = false;  // no decoder at all
  std::vector<Step> steps_;
};

}  // namespace primus::tokenizer
