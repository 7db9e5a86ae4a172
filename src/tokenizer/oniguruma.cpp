#include "tokenizer/oniguruma.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace primus::tokenizer {
namespace {

using namespace std::string_view_literals;

// Explicit ranges: PCRE2 turns them into a bitmap, and its own \s also holds U+180E.
constexpr auto kSpace =
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"sv;
constexpr auto kHex = "0-9a-fA-F"sv;
constexpr auto kWordInSet = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"sv;
// Outside of a set the engine asks a table of Latin-1 that holds superscripts and fractions too.
constexpr auto kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"sv;

constexpr std::pair<std::string_view, std::string_view> kPosixClasses[] = {
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"alpha", "\\p{Alphabetic}"},
    {"blank", "\\p{Zs}\\x{09}"},
    {"cntrl", "\\p{Cc}"},
    {"digit", "\\p{Nd}"},
    {"graph", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}"},
    {"lower", "\\p{Lowercase}"},
    {"print", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}\\p{Zs}"},
    {"punct", "\\p{P}\\p{S}"},
    {"space", kSpace},
    {"upper", "\\p{Uppercase}"},
    {"word", kWordInSet},
    {"xdigit", kHex}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_hex(char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }

bool compiles(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                                   &error, &at, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\' && at_ + 1 < pattern_.size()) {
        atom_ = out_.size();
        escape();
      } else if (c == '[') {
        atom_ = out_.size();
        set();
      } else if (c == '{') {
        interval();
      } else {
        plain(c);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw bad_input("{}: {} is not supported: {}", where_, what, pattern_);
  }

  bool next_is(std::string_view text) const { return pattern_.substr(at_, text.size()) == text; }

  void copy(std::size_t end) {
    out_ += pattern_.substr(at_, end - at_);
    at_ = end;
  }

  /// One byte that means the same to both; keeps where the thing begins that a quantifier behind it would repeat.
  void plain(char c) {
    if (c == '(') {
      groups_.push_back(out_.size());
    } else if (c == ')' && !groups_.empty()) {
      atom_ = groups_.back();
      groups_.pop_back();
    } else if ("|*+?"sv.find(c) == std::string_view::npos && (static_cast<unsigned char>(c) & 0xC0) != 0x80) {
      atom_ = out_.size();
    }
    copy(at_ + 1);
  }

  /// {2}, {2,}, {,3}, {2,3}; anything else is a plain brace.
  void interval() {
    std::size_t end = at_ + 1;
    const auto digits = [&] {
      const std::size_t begin = end;
      while (end < pattern_.size() && is_digit(pattern_[end])) ++end;
      return pattern_.substr(begin, end - begin);
    };
    const std::string_view low = digits();
    const bool range = end < pattern_.size() && pattern_[end] == ',';
    if (range) ++end;
    const std::string_view high = range ? digits() : ""sv;
    if (end >= pattern_.size() || pattern_[end] != '}' || (low.empty() && high.empty())) return plain('{');
    at_ = end + 1;
    const bool repeated = next_is("+") || (next_is("?") && !range);
    if (repeated) out_.insert(atom_, "(?:");
    out_ += fmt::format("{{{}{}{}}}{}", low.empty() ? "0"sv : low, range ? "," : "", high, repeated ? ")" : "");
  }

  void escape() {
    const char letter = pattern_[at_ + 1];
    const std::string_view members = members_of(letter, kWord);
    if (!members.empty()) {
      out_ += fmt::format("[{}{}]", letter >= 'A' && letter <= 'Z' ? "^" : "", members);
      at_ += 2;
    } else if (letter == 'b' || letter == 'B') {
      const std::string_view first = letter == 'b' ? "!" : "=", second = letter == 'b' ? "=" : "!";
      out_ += fmt::format("(?:(?<=[{0}])(?{1}[{0}])|(?<![{0}])(?{2}[{0}]))", kWord, first, second);
      at_ += 2;
    } else {
      common_escape(letter);
    }
  }

  static std::string_view members_of(char letter, std::string_view word) {
    switch (letter) {
      case 's':
      case 'S':
        return kSpace;
      case 'w':
      case 'W':
        return word;
      case 'h':
      case 'H':
        return kHex;
      default:
        return {};
    }
  }

  /// What is the same inside of a set and outside.
  void common_escape(char letter) {
    const std::string_view code = pattern_.substr(at_ + 2, 4);
    if (letter == 'u' && code.size() == 4 && std::all_of(code.begin(), code.end(), is_hex)) {
      out_ += fmt::format("\\x{{{}}}", code);
      at_ += 6;
      return;
    }
    if (letter == 'v') {
      out_ += "\\x{0b}";
      at_ += 2;
      return;
    }
    const std::size_t close = pattern_.find('}', at_);
    const bool braces = at_ + 2 < pattern_.size() && pattern_[at_ + 2] == '{' && close != std::string_view::npos;
    if ((letter == 'p' || letter == 'P') && braces) {
      property(letter == 'P', pattern_.substr(at_ + 3, close - at_ - 3));
      at_ = close + 1;
    } else {
      copy(braces && (letter == 'x' || letter == 'o') ? close + 1 : at_ + 2);
    }
  }

  void property(bool negated, std::string_view name) {
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const bool script = compiles(fmt::format("\\p{{sc:{}}}", name));
    out_ += fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', script ? "sc:" : "", name);
  }

  void set() {
    copy(at_ + 1);
    if (next_is("^")) copy(at_ + 1);
    if (next_is("]")) copy(at_ + 1);
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      if (pattern_[at_] == '\\' && at_ + 1 < pattern_.size()) {
        escape_in_set();
      } else if (next_is("[:")) {
        posix_class();
      } else if (next_is("[") || next_is("&&")) {
        refuse("a set inside a set (nested [ ] or &&)");
      } else {
        copy(at_ + 1);
      }
    }
    if (at_ < pattern_.size()) copy(at_ + 1);
  }

  void escape_in_set() {
    const char letter = pattern_[at_ + 1];
    const std::string_view members = members_of(letter, kWordInSet);
    if (members.empty()) return common_escape(letter);
    if (letter == 'S') {
      out_ += "\\P{White_Space}";
    } else if (letter == 'W' || letter == 'H') {
      refuse(fmt::format("\\{} inside [ ]", letter));
    } else {
      out_ += members;
    }
    at_ += 2;
  }

  void posix_class() {
    const std::size_t close = pattern_.find(":]", at_);
    if (close == std::string_view::npos) throw bad_input("{}: '[:' without ':]' in {}", where_, pattern_);
    const std::string_view name = pattern_.substr(at_ + 2, close - at_ - 2);
    const auto* known = std::find_if(std::begin(kPosixClasses), std::end(kPosixClasses),
                                     [&](const auto& entry) { return entry.first == name; });
    if (known == std::end(kPosixClasses)) refuse(fmt::format("[:{}:]", name));
    out_ += known->second;
    at_ = close + 2;
  }

  const std::string_view pattern_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_ = 0;             // where in out_ the thing begins that a quantifier would repeat
  std::vector<std::size_t> groups_;  // where in out_ the open groups begin
};

}  // namespace

std::string from_oniguruma(const std::string& pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace primus::tokenizer
