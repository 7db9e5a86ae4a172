#include "tokenizer/word_cache.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace primus::tokenizer {

WordCache::WordCache() : slots_(std::make_unique<std::atomic<const Entry*>[]>(kSlots)) {}

WordCache::~WordCache() {
  for (std::size_t i = 0; i < kSlots; ++i) std::free(const_cast<Entry*>(slots_[i].load(std::memory_order_relaxed)));
}

bool WordCache::find(std::string_view word, std::uint64_t hash, std::vector<TokenId>& ids) const {
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t probe = 0; probe < kProbes; ++probe) {
    const Entry* entry = slots_[(hash + probe) & (kSlots - 1)].load(std::memory_order_acquire);
    if (entry == nullptr) return false;
    if (entry->tag != tag || entry->size != word.size()) continue;
    const char* bytes = reinterpret_cast<const char*>(entry) + offsetof(Entry, ids) + entry->count * sizeof(TokenId);
    if (std::memcmp(bytes, word.data(), word.size()) != 0) continue;
    const auto* first = reinterpret_cast<const TokenId*>(reinterpret_cast<const char*>(entry) + offsetof(Entry, ids));
    ids.insert(ids.end(), first, first + entry->count);
    return true;
  }
  return false;
}

void WordCache::insert(std::string_view word, std::uint64_t hash, std::span<const TokenId> ids) {
  if (word.size() > kMaxWord || ids.size() > kMaxTokens) return;
  std::size_t at = kSlots;
  for (std::size_t probe = 0; probe < kProbes && at == kSlots; ++probe) {
    const std::size_t i = (hash + probe) & (kSlots - 1);
    if (slots_[i].load(std::memory_order_relaxed) == nullptr) at = i;
  }
  if (at == kSlots) return;
  const std::size_t head = offsetof(Entry, ids);
  auto* bytes = static_cast<char*>(std::malloc(head + ids.size_bytes() + word.size() + sizeof(std::uint32_t)));
  if (bytes == nullptr) return;
  auto* entry = reinterpret_cast<Entry*>(bytes);
  entry->tag = static_cast<std::uint32_t>(hash >> 32);
  entry->size = static_cast<std::uint8_t>(word.size());
  entry->count = static_cast<std::uint8_t>(ids.size());
  std::memcpy(bytes + head, ids.data(), ids.size_bytes());
  std::memcpy(bytes + head + ids.size_bytes(), word.data(), word.size());
  const Entry* none = nullptr;
  if (!slots_[at].compare_exchange_strong(none, entry, std::memory_order_release, std::memory_order_relaxed)) {
    std::free(bytes);  // another thread was faster
  }
}

}  // namespace primus::tokenizer
