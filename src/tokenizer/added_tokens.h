#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace primus::tokenizer {

/// Finds added tokens in a text: leftmost first, the longest among those that begin there.
class AddedTokenMatcher {
 public:
  static constexpr std::size_t kMaxContent = 1024;  // bytes of a token: bounds the work at each position

  /// `content` is what is looked for: the token's text, or its normalized form.
  void add(std::string_view content, const AddedToken& token);
  bool empty() const { return nodes_.empty(); }

  /// Calls for every stretch of `text` in order: (begin, end, nullptr) for plain text, and (begin, end, token) for a
  /// token together with the white space that its lstrip and rstrip take.
  void split(std::string_view text,
             const std::function<void(std::size_t begin, std::size_t end, const AddedToken* token)>& visit) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;  // ascending by byte
    std::int32_t token = -1;
  };
  const AddedToken* longest_at(std::string_view text, std::size_t at, std::size_t& end) const;

  std::vector<Node> nodes_;
  std::vector<AddedToken> tokens_;
  bool begins_[256] = {};
};

}  // namespace primus::tokenizer
