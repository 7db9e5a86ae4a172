#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace primus::tokenizer {

/// Words and their ids, shared by all threads without locks: entries are only ever added, and the first words to come
/// stay, which for natural text are the frequent ones. When a word's few slots are taken it is simply not kept.
class WordCache {
 public:
  static constexpr std::size_t kMaxWord = 48;  // bytes
  static constexpr std::size_t kMaxTokens = 24;

  WordCache();
  ~WordCache();
  WordCache(const WordCache&) = delete;
  WordCache& operator=(const WordCache&) = delete;

  /// Appends the word's ids and returns true when it is known. Needs word.size() <= kMaxWord.
  bool find(std::string_view word, std::uint64_t hash, std::vector<TokenId>& ids) const;
  void insert(std::string_view word, std::uint64_t hash, std::span<const TokenId> ids);

 private:
  struct Entry {
    std::uint32_t tag;
    std::uint8_t size;
    std::uint8_t count;
    TokenId ids[kMaxTokens];  // as many as `count`, the word's bytes behind them: allocated to fit
  };
  static constexpr std::size_t kSlots = 1 << 17;
  static constexpr std::size_t kProbes = 4;

  std::unique_ptr<std::atomic<const Entry*>[]> slots_;
};

}  // namespace primus::tokenizer
