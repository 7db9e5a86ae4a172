#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"

namespace primus::tokenizer {
namespace {

bool word_ends_at(std::string_view text, std::size_t end) {
  if (end == 0) return false;
  std::size_t at = unicode::previous(text, end);
  return unicode::is_word(unicode::next(text, at));
}

bool word_begins_at(std::string_view text, std::size_t begin) {
  return begin < text.size() && unicode::is_word(unicode::next(text, begin));
}

std::size_t space_before(std::string_view text, std::size_t end, std::size_t floor) {
  while (end > floor) {
    const std::size_t begin = unicode::previous(text, end);
    std::size_t at = begin;
    if (!unicode::is_white_space(unicode::next(text, at))) break;
    end = begin;
  }
  return end;
}

std::size_t space_after(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    std::size_t at = begin;
    if (!unicode::is_white_space(unicode::next(text, at))) break;
    begin = at;
  }
  return begin;
}

}  // namespace

void AddedTokenMatcher::add(std::string_view content, const AddedToken& token) {
  if (content.empty()) return;
  if (nodes_.empty()) nodes_.emplace_back();
  std::uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[node].children;
    const auto place = std::lower_bound(children.begin(), children.end(), std::pair(byte, std::uint32_t{0}));
    if (place != children.end() && place->first == byte) {
      node = place->second;
    } else {
      const auto fresh = static_cast<std::uint32_t>(nodes_.size());
      children.insert(place, {byte, fresh});
      nodes_.emplace_back();
      node = fresh;
    }
  }
  begins_[static_cast<unsigned char>(content[0])] = true;
  nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, std::size_t at, std::size_t& end) const {
  const AddedToken* found = nullptr;
  std::uint32_t node = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto& children = nodes_[node].children;
    const auto place = std::lower_bound(children.begin(), children.end(), std::pair(byte, std::uint32_t{0}));
    if (place == children.end() || place->first != byte) break;
    node = place->second;
    if (nodes_[node].token >= 0) {
      found = &tokens_[nodes_[node].token];
      end = i + 1;
    }
  }
  return found;
}

void AddedTokenMatcher::split(
    std::string_view text,
    const std::function<void(std::size_t begin, std::size_t end, const AddedToken* token)>& visit) const {
  std::size_t done = 0;
  for (std::size_t at = 0; !nodes_.empty() && at < text.size();) {
    if (!begins_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    std::size_t end = 0;
    const AddedToken* token = longest_at(text, at, end);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    at = end;  // also where rstrip takes more: what begins in there is found again, as the reference does
    if (token->single_word && (word_ends_at(text, begin) || word_begins_at(text, end))) continue;
    if (token->lstrip) begin = std::max(space_before(text, begin, done), done);
    if (token->rstrip) end = space_after(text, end);
    if (begin >= end) continue;
    if (done < begin) visit(done, begin, nullptr);
    visit(begin, end, token);
    done = end;
  }
  if (done < text.size()) visit(done, text.size(), nullptr);
}

}  // namespace primus::tokenizer
