#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace primus::tokenizer {

/// A pattern of a tokenizer.json, compiled for UTF-8 with Unicode properties; it means what Oniguruma reads in it
/// (oniguruma.h). Const use is safe from many threads, each with a Matcher of its own.
class Regex {
 public:
  /// Throws Error with `where` on a pattern that does not compile or that PCRE2 cannot express.
  Regex(const std::string& pattern, const std::string& where);
  /// A plain text as a pattern.
  static std::string escape(std::string_view literal);

  class Matcher;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

class Regex::Matcher {
 public:
  explicit Matcher(const Regex& regex);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  /// The first match in `text` (valid UTF-8) at or behind byte `from`. Throws Error when matching costs too much.
  bool find(std::string_view text, std::size_t from, ByteSpan& match);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace primus::tokenizer
