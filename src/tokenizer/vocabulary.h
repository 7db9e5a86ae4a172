#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace primus::tokenizer {

/// A fast hash of bytes; not for adversaries who may choose keys of a table without bounds.
inline std::uint64_t hash_bytes(std::string_view bytes) {
  constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15ULL;
  std::uint64_t hash = bytes.size() * kMix;
  const char* data = bytes.data();
  std::size_t left = bytes.size();
  const auto fold = [&hash](std::uint64_t word) {
    const unsigned __int128 product = static_cast<unsigned __int128>(hash ^ word) * 0xD6E8FEB86659FD93ULL;
    hash = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64) ^ kMix;
  };
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    fold(word);
  }
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, left);
    fold(word + left);
  }
  return hash ^ (hash >> 32);
}

/// Texts and their ids, both ways. Texts live in one block.
class Vocabulary {
 public:
  void reserve(std::size_t tokens, std::size_t bytes);
  /// A text that comes again gets the later id; an id that comes again gets the later text.
  void add(std::string_view text, TokenId id);
  std::optional<TokenId> find(std::string_view text) const;
  /// Empty for an id that has no text.
  std::string_view text(TokenId id) const;
  bool has(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < texts_.size() && texts_[id].used; }
  /// One more than the largest id.
  std::size_t size() const { return texts_.size(); }

 private:
  struct Place {
    std::uint64_t begin = 0;
    std::uint32_t size = 0;
    bool used = false;
  };
  struct Slot {
    std::uint64_t begin = 0;
    std::uint32_t size = 0;
    std::uint32_t tag = 0;
    TokenId id = -1;
  };
  std::string_view at(std::uint64_t begin, std::uint32_t size) const { return {bytes_.data() + begin, size}; }
  Slot* slot_of(std::string_view text, std::uint64_t hash);
  void grow(std::size_t slots);

  std::string bytes_;
  std::vector<Place> texts_;
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

/// GPT-2's alphabet: every byte has a printable character that stands for it in tokenizer.json.
char32_t byte_to_character(unsigned char byte);
/// The bytes that a token's text stands for, or nothing when it holds a character outside that alphabet.
std::optional<std::string> bytes_of_characters(std::string_view text);

}  // namespace primus::tokenizer
