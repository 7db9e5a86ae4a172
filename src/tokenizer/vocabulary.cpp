#include "tokenizer/vocabulary.h"

#include <array>
#include <bit>

#include "base/error.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer {

void Vocabulary::reserve(std::size_t tokens, std::size_t bytes) {
  bytes_.reserve(bytes);
  texts_.reserve(tokens);
  grow(std::bit_ceil(tokens * 2 + 16));
}

void Vocabulary::grow(std::size_t count) {
  if (count <= slots_.size()) return;
  std::vector<Slot> old(count);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.id >= 0) *slot_of(at(slot.begin, slot.size), hash_bytes(at(slot.begin, slot.size))) = slot;
  }
}

Vocabulary::Slot* Vocabulary::slot_of(std::string_view text, std::uint64_t hash) {
  const std::size_t mask = slots_.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
    Slot& slot = slots_[i];
    if (slot.id < 0 || (slot.tag == tag && at(slot.begin, slot.size) == text)) return &slot;
  }
}

void Vocabulary::add(std::string_view text, TokenId id) {
  PRIMUS_CHECK(id >= 0, id);
  if ((used_ + 1) * 2 > slots_.size()) grow(std::bit_ceil(used_ * 4 + 16));
  const std::uint64_t hash = hash_bytes(text);
  Slot* slot = slot_of(text, hash);
  if (slot->id < 0) {
    *slot = {bytes_.size(), static_cast<std::uint32_t>(text.size()), static_cast<std::uint32_t>(hash >> 32), id};
    bytes_ += text;
    ++used_;
  }
  slot->id = id;
  if (texts_.size() <= static_cast<std::size_t>(id)) texts_.resize(static_cast<std::size_t>(id) + 1);
  texts_[id] = {slot->begin, slot->size, true};
}

std::optional<TokenId> Vocabulary::find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const Slot* slot = const_cast<Vocabulary*>(this)->slot_of(text, hash_bytes(text));
  return slot->id < 0 ? std::nullopt : std::optional(slot->id);
}

std::string_view Vocabulary::text(TokenId id) const {
  if (!has(id)) return {};
  return at(texts_[id].begin, texts_[id].size);
}

namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<std::int16_t, 0x180> byte{};

  constexpr Alphabet() {
    for (auto& entry : byte) entry = -1;
    char32_t next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
      character[b] = stands_for_itself(b) ? b : next++;
      byte[character[b]] = static_cast<std::int16_t>(b);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

char32_t byte_to_character(unsigned char byte) { return kAlphabet.character[byte]; }

std::optional<std::string> bytes_of_characters(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = unicode::next(text, i);
    if (c >= kAlphabet.byte.size() || kAlphabet.byte[c] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[c]);
  }
  return bytes;
}

}  // namespace primus::tokenizer
