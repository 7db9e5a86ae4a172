#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_cache.h"

namespace primus::tokenizer {

struct BpeOptions {
  bool byte_level = false;     // words are bytes; the vocabulary is written in GPT-2's alphabet
  bool byte_fallback = false;  // a character without a token becomes <0x..> tokens
  bool ignore_merges = false;  // a word that is a token is that token
  bool fuse_unk = false;
  std::optional<TokenId> unk_id;
};

/// Ids and, when asked for, how many bytes of the word each one covers.
struct BpeOutput {
  std::vector<TokenId> ids;
  std::vector<std::uint32_t> lengths;
  bool want_lengths = false;
};

/// Byte-pair encoding (Sennrich et al., "Neural machine translation of rare words with subword units", ACL 2016): of
/// all neighbours that a merge joins, the one with the lowest rank is joined first, the leftmost among equals.
/// Const use is safe from many threads.
class Bpe {
 public:
  /// `merges` in order of rank, as texts of the vocabulary. Throws Error with `where` when a merge names a token that
  /// does not exist.
  Bpe(const Vocabulary& vocabulary, const std::vector<std::pair<std::string_view, std::string_view>>& merges,
      const BpeOptions& options, const std::string& where);

  void encode(std::string_view word, BpeOutput& out) const;

 private:
  struct Merge {
    std::uint64_t pair = ~std::uint64_t{0};
    std::uint32_t rank = 0;
    TokenId joined = 0;
  };
  struct Symbol {
    TokenId id;
    std::uint32_t length;
  };
  static std::uint64_t pair_of(TokenId left, TokenId right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  }
  void add_merge(TokenId left, TokenId right, TokenId joined, std::uint32_t rank);
  const Merge* find_merge(TokenId left, TokenId right) const;
  std::optional<TokenId> find_word(std::string_view word) const;

  void encode_word(std::string_view word, BpeOutput& out) const;
  /// False when an unknown character was met: the word is then not kept in the cache.
  bool split_into_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(std::vector<Symbol>& symbols) const;
  void find_safe_cut(const Vocabulary& vocabulary);

  BpeOptions options_;
  Vocabulary bytes_;                   // byte level: texts as bytes; else as they are
  std::array<TokenId, 256> byte_ids_;  // byte level: the byte's token; byte fallback: <0x..>; -1: none
  std::vector<bool> is_byte_;          // a <0x..> token, which covers one byte
  std::vector<Merge> merges_;          // open addressing
  bool cut_before_space_ = false;      // no token holds "▁" behind another character: words may be cut before it
  mutable WordCache cache_;
};

}  // namespace primus::tokenizer
