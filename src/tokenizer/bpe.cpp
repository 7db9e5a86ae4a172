#include "tokenizer/bpe.h"

#include <bit>
#include <queue>

#include "base/error.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer {
namespace {

constexpr std::size_t kShortWord = 40;                   // symbols; up to there a scan beats a heap
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // ▁
constexpr std::uint32_t kNoRank = ~std::uint32_t{0};

}  // namespace

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<std::pair<std::string_view, std::string_view>>& merges,
         const BpeOptions& options, const std::string& where)
    : options_(options) {
  byte_ids_.fill(-1);
  if (options_.byte_level) {
    is_byte_.resize(vocabulary.size(), false);
    bytes_.reserve(vocabulary.size(), vocabulary.size() * 8);
    for (TokenId id = 0; static_cast<std::size_t>(id) < vocabulary.size(); ++id) {
      if (!vocabulary.has(id)) continue;
      if (const auto bytes = bytes_of_characters(vocabulary.text(id))) bytes_.add(*bytes, id);
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (const auto id = bytes_.find(std::string(1, static_cast<char>(byte)))) byte_ids_[byte] = *id;
    }
  } else {
    bytes_ = vocabulary;
    is_byte_.resize(vocabulary.size(), false);
    for (unsigned byte = 0; options_.byte_fallback && byte < 256; ++byte) {
      if (const auto id = vocabulary.find(fmt::format("<0x{:02X}>", byte))) {
        byte_ids_[byte] = *id;
        is_byte_[*id] = true;
      }
    }
  }
  merges_.resize(std::bit_ceil(merges.size() + merges.size() / 2 + 16));
  std::string joined;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    joined.assign(left).append(right);
    const auto left_id = vocabulary.find(left), right_id = vocabulary.find(right), joined_id = vocabulary.find(joined);
    if (!left_id || !right_id || !joined_id) {
      throw bad_input("{}: merge {} joins \"{}\" and \"{}\" to \"{}\", and \"{}\" is not in the vocabulary", where,
                      rank, left, right, joined,
                      !left_id    ? left
                      : !right_id ? right
                                  : std::string_view(joined));
    }
    add_merge(*left_id, *right_id, *joined_id, static_cast<std::uint32_t>(rank));
  }
  if (!options_.byte_level) find_safe_cut(vocabulary);
}

void Bpe::find_safe_cut(const Vocabulary& vocabulary) {
  if (options_.ignore_merges) return;
  for (const Merge& merge : merges_) {
    if (merge.pair == ~std::uint64_t{0}) continue;
    const std::string_view text = vocabulary.text(merge.joined);
    for (std::size_t at = text.find(kSpaceMark); at != std::string_view::npos; at = text.find(kSpaceMark, at + 3)) {
      if (at > 0 && (at < 3 || text.substr(at - 3, 3) != kSpaceMark)) return;
    }
  }
  cut_before_space_ = true;
}

void Bpe::add_merge(TokenId left, TokenId right, TokenId joined, std::uint32_t rank) {
  const std::uint64_t pair = pair_of(left, right);
  const std::size_t mask = merges_.size() - 1;
  std::size_t i = (pair * 0x9E3779B97F4A7C15ULL >> 32) & mask;
  while (merges_[i].pair != ~std::uint64_t{0} && merges_[i].pair != pair) i = (i + 1) & mask;
  merges_[i] = {pair, rank, joined};
}

const Bpe::Merge* Bpe::find_merge(TokenId left, TokenId right) const {
  const std::uint64_t pair = pair_of(left, right);
  const std::size_t mask = merges_.size() - 1;
  for (std::size_t i = (pair * 0x9E3779B97F4A7C15ULL >> 32) & mask;; i = (i + 1) & mask) {
    if (merges_[i].pair == pair) return &merges_[i];
    if (merges_[i].pair == ~std::uint64_t{0}) return nullptr;
  }
}

std::optional<TokenId> Bpe::find_word(std::string_view word) const { return bytes_.find(word); }

void Bpe::encode(std::string_view word, BpeOutput& out) const {
  if (!cut_before_space_) {
    encode_word(word, out);
    return;
  }
  std::size_t begin = 0;
  for (std::size_t at = word.find(kSpaceMark); at != std::string_view::npos; at = word.find(kSpaceMark, at + 3)) {
    const bool after_mark = at >= begin + 3 && word.substr(at - 3, 3) == kSpaceMark;
    if (at == begin || after_mark) continue;
    encode_word(word.substr(begin, at - begin), out);
    begin = at;
  }
  encode_word(word.substr(begin), out);
}

void Bpe::encode_word(std::string_view word, BpeOutput& out) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    if (const auto id = find_word(word)) {
      out.ids.push_back(*id);
      if (out.want_lengths) out.lengths.push_back(static_cast<std::uint32_t>(word.size()));
      return;
    }
  }
  const bool may_keep = word.size() <= WordCache::kMaxWord;
  std::uint64_t hash = 0;
  const std::size_t first = out.ids.size();
  if (may_keep) {
    hash = hash_bytes(word);
    if (cache_.find(word, hash, out.ids)) {
      for (std::size_t i = first; out.want_lengths && i < out.ids.size(); ++i) {
        const TokenId id = out.ids[i];
        out.lengths.push_back(is_byte_[id] ? 1 : static_cast<std::uint32_t>(bytes_.text(id).size()));
      }
      return;
    }
  }
  std::vector<Symbol> symbols;
  const bool known = split_into_symbols(word, symbols);
  if (symbols.size() <= kShortWord) {
    merge_short(symbols);
  } else {
    merge_long(symbols);
  }
  for (const Symbol& symbol : symbols) {
    out.ids.push_back(symbol.id);
    if (out.want_lengths) out.lengths.push_back(symbol.length);
  }
  if (may_keep && known) cache_.insert(word, hash, std::span(out.ids).subspan(first));
}

bool Bpe::split_into_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  bool known = true;
  symbols.reserve(word.size());
  std::optional<Symbol> unknown;
  const auto flush = [&] {
    if (unknown) symbols.push_back(*unknown);
    unknown.reset();
  };
  const auto meet_unknown = [&](std::uint32_t length) {
    known = false;
    if (!options_.unk_id) {  // the characters vanish, as in Hugging Face tokenizers
      if (!symbols.empty()) symbols.back().length += length;
      return;
    }
    if (unknown && options_.fuse_unk) {
      unknown->length += length;
    } else {
      flush();
      unknown = Symbol{*options_.unk_id, length};
    }
  };
  for (std::size_t at = 0; at < word.size();) {
    if (options_.byte_level) {
      const TokenId id = byte_ids_[static_cast<unsigned char>(word[at++])];
      if (id >= 0) {
        flush();
        symbols.push_back({id, 1});
      } else {
        meet_unknown(1);
      }
      continue;
    }
    const std::size_t length = unicode::length_of(static_cast<unsigned char>(word[at]));
    const std::string_view character = word.substr(at, length);
    at += length;
    if (const auto id = find_word(character)) {
      flush();
      symbols.push_back({*id, static_cast<std::uint32_t>(length)});
      continue;
    }
    bool all_bytes = options_.byte_fallback;
    for (const char byte : character) all_bytes = all_bytes && byte_ids_[static_cast<unsigned char>(byte)] >= 0;
    if (all_bytes) {
      for (const char byte : character) symbols.push_back({byte_ids_[static_cast<unsigned char>(byte)], 1});
    } else {
      meet_unknown(static_cast<std::uint32_t>(length));
    }
  }
  flush();
  return known;
}

void Bpe::merge_short(std::vector<Symbol>& symbols) const {
  struct Candidate {
    std::uint32_t rank;
    TokenId joined;
  };
  std::array<Candidate, kShortWord> candidates;
  std::size_t count = symbols.size();
  const auto look = [&](std::size_t i) {
    const Merge* merge = find_merge(symbols[i].id, symbols[i + 1].id);
    candidates[i] = merge == nullptr ? Candidate{kNoRank, 0} : Candidate{merge->rank, merge->joined};
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (candidates[i].rank < candidates[best].rank) best = i;
    }
    if (candidates[best].rank == kNoRank) break;
    symbols[best] = {candidates[best].joined, symbols[best].length + symbols[best + 1].length};
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      candidates[i] = candidates[i + 1];
    }
    --count;
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  symbols.resize(count);
}

void Bpe::merge_long(std::vector<Symbol>& symbols) const {
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t at;
    std::uint64_t pair;
    TokenId joined;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  constexpr std::uint32_t kNone = ~std::uint32_t{0};
  const auto count = static_cast<std::uint32_t>(symbols.size());
  std::vector<std::uint32_t> next(count), previous(count);
  std::vector<bool> gone(count, false);
  for (std::uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto look = [&](std::uint32_t i) {
    if (i == kNone || next[i] == kNone) return;
    const Merge* merge = find_merge(symbols[i].id, symbols[next[i]].id);
    if (merge != nullptr) heap.push({merge->rank, i, merge->pair, merge->joined});
  };
  for (std::uint32_t i = 0; i + 1 < count; ++i) look(i);
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    if (gone[top.at] || next[top.at] == kNone) continue;
    const std::uint32_t right = next[top.at];
    if (pair_of(symbols[top.at].id, symbols[right].id) != top.pair) continue;  // joined meanwhile
    symbols[top.at] = {top.joined, symbols[top.at].length + symbols[right].length};
    gone[right] = true;
    next[top.at] = next[right];
    if (next[right] != kNone) previous[next[right]] = top.at;
    look(previous[top.at]);
    look(top.at);
  }
  std::size_t kept = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!gone[i]) symbols[kept++] = symbols[i];
  }
  symbols.resize(kept);
}

}  // namespace primus::tokenizer
