#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Token::Kind;

/// All line ends become \n, and one at the very end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_decimal(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string source, const std::string& name) : source_(std::move(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) lex_text();
    push(Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw bad_input("{}: line {}: {}", name_, line_, what); }

  Token& push(Kind kind, std::string text = "") {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }

  bool looking_at(std::string_view text) const { return std::string_view(source_).substr(at_, text.size()) == text; }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  void move_to(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }

  std::size_t skip_space_from(std::size_t at) const {
    while (at < source_.size()) {
      std::size_t after = at;
      if (!unicode::is_white_space(unicode::next(source_, after))) break;
      at = after;
    }
    return at;
  }

  /// Text up to `end`, with what the tag's sign and lstrip_blocks take away at its right.
  std::string trimmed_text(std::size_t end, char sign, bool is_print) const {
    std::string text = source_.substr(at_, end - at_);
    if (sign == '-') {
      std::size_t keep = text.size();
      while (keep > 0) {
        const std::size_t before = unicode::previous(text, keep);
        std::size_t after = before;
        if (!unicode::is_white_space(unicode::next(text, after))) break;
        keep = before;
      }
      text.resize(keep);
    } else if (sign != '+' && !is_print) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t line_begin = newline == std::string::npos ? 0 : newline + 1;
      if (newline == std::string::npos && !at_line_start_) return text;
      for (std::size_t i = line_begin; i < text.size();) {
        if (!unicode::is_white_space(unicode::next(text, i))) return text;
      }
      text.resize(line_begin);
    }
    return text;
  }

  /// What follows a tag that ends at `end`: -%} takes all white space, %} one newline.
  std::size_t after_tag(std::size_t end, char sign) const {
    if (sign == '-') return skip_space_from(end);
    if (sign != '+' && end < source_.size() && source_[end] == '\n') return end + 1;
    return end;
  }

  void end_tag(std::size_t end) {
    move_to(end);
    at_line_start_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  void lex_text() {
    std::size_t open = at_;
    while (true) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        push(Kind::kText, source_.substr(at_));
        move_to(source_.size());
        return;
      }
      const char c = source_[open + 1];
      if (c == '{' || c == '%' || c == '#') break;
      ++open;
    }
    const char type = source_[open + 1];
    char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    if (type == '{' && sign == '+') sign = '\0';  // only a tag knows +
    std::string text = trimmed_text(open, sign, type == '{');
    if (!text.empty()) push(Kind::kText, std::move(text));
    move_to(open + 2 + (sign == '\0' ? 0 : 1));
    at_line_start_ = false;
    if (type == '#') {
      lex_comment();
    } else if (type == '{') {
      push(Kind::kPrintBegin);
      lex_inside("}}", Kind::kPrintEnd);
    } else if (!lex_raw()) {
      push(Kind::kTagBegin);
      lex_inside("%}", Kind::kTagEnd);
    }
  }

  void lex_comment() {
    const std::size_t close = source_.find("#}", at_);
    if (close == std::string::npos) fail("a comment {# is never closed with #}");
    const char sign =
        close > at_ && (source_[close - 1] == '-' || source_[close - 1] == '+') ? source_[close - 1] : '\0';
    end_tag(after_tag(close + 2, sign));
  }

  /// {% raw %} … {% endraw %}, at the place behind "{%".
  bool lex_raw() {
    std::size_t i = skip_space_from(at_);
    if (source_.compare(i, 3, "raw") != 0) return false;
    i = skip_space_from(i + 3);
    const bool strip = i < source_.size() && source_[i] == '-';
    if (source_.compare(i + (strip ? 1 : 0), 2, "%}") != 0) return false;
    i += strip ? 3 : 2;
    move_to(strip ? skip_space_from(i) : i);
    for (std::size_t open = source_.find("{%", at_); open != std::string::npos; open = source_.find("{%", open + 2)) {
      std::size_t j = open + 2;
      const char sign = j < source_.size() && (source_[j] == '-' || source_[j] == '+') ? source_[j++] : '\0';
      j = skip_space_from(j);
      if (source_.compare(j, 6, "endraw") != 0) continue;
      j = skip_space_from(j + 6);
      const char end_sign = j < source_.size() && (source_[j] == '-' || source_[j] == '+') ? source_[j++] : '\0';
      if (source_.compare(j, 2, "%}") != 0) continue;
      std::string text = trimmed_text(open, sign, false);
      if (!text.empty()) push(Kind::kText, std::move(text));
      end_tag(after_tag(j + 2, end_sign));
      return true;
    }
    fail("{% raw %} is never closed with {% endraw %}");
  }

  void lex_inside(std::string_view close, Kind end_kind) {
    std::string open_brackets;
    while (true) {
      move_to(skip_space_from(at_));
      if (at_ >= source_.size()) fail(fmt::format("the tag is never closed with {}", close));
      if (open_brackets.empty()) {
        const bool signed_end = (peek() == '-' || (peek() == '+' && end_kind == Kind::kTagEnd)) &&
                                std::string_view(source_).substr(at_ + 1, 2) == close;
        if (signed_end || looking_at(close)) {
          const char sign = signed_end ? peek() : '\0';
          const std::size_t end = at_ + close.size() + (signed_end ? 1 : 0);
          push(end_kind);
          if (end_kind == Kind::kTagEnd) {
            end_tag(after_tag(end, sign));
          } else {
            end_tag(sign == '-' ? skip_space_from(end) : end);
          }
          return;
        }
      }
      lex_token(open_brackets);
    }
  }

  void lex_token(std::string& open_brackets) {
    const char c = peek();
    if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < source_.size() && (is_name_start(source_[end]) || is_decimal(source_[end]))) ++end;
      push(Kind::kName, source_.substr(at_, end - at_));
      at_ = end;
    } else if (is_decimal(c)) {
      lex_number();
    } else if (c == '\'' || c == '"') {
      lex_string(c);
    } else {
      lex_operator(open_brackets);
    }
  }

  void lex_operator(std::string& open_brackets) {
    for (const std::string_view op : {"//", "**", "==", "!=", ">=", "<="}) {
      if (looking_at(op)) {
        push(Kind::kOperator, std::string(op));
        at_ += 2;
        return;
      }
    }
    const char c = peek();
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      fail(fmt::format("unexpected character '{}'", c));
    }
    if (c == '(' || c == '[' || c == '{') open_brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open_brackets.empty()) fail(fmt::format("unexpected '{}'", c));
      if (open_brackets.back() != c) fail(fmt::format("unexpected '{}', expected '{}'", c, open_brackets.back()));
      open_brackets.pop_back();
    }
    push(Kind::kOperator, std::string(1, c));
    ++at_;
  }

  void lex_number() {
    std::size_t end = at_;
    std::string digits;
    int base = 10;
    if (peek() == '0' && (peek(1) | 0x20) >= 'a') {
      base = (peek(1) | 0x20) == 'x' ? 16 : (peek(1) | 0x20) == 'o' ? 8 : (peek(1) | 0x20) == 'b' ? 2 : 10;
      if (base != 10) end += 2;
    }
    const auto take = [&](auto&& wanted) {
      while (end < source_.size() &&
             (wanted(source_[end]) || (source_[end] == '_' && end + 1 < source_.size() && wanted(source_[end + 1])))) {
        if (source_[end] != '_') digits += source_[end];
        ++end;
      }
    };
    take([&](char c) { return base == 16 ? std::isxdigit(static_cast<unsigned char>(c)) != 0 : is_decimal(c); });
    bool is_float = false;
    const auto at = [&](std::size_t i) { return i < source_.size() ? source_[i] : '\0'; };
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // a.0.1 are items, not a float
    if (base == 10 && !after_dot) {
      if (at(end) == '.' && is_decimal(at(end + 1))) {
        is_float = true;
        digits += '.';
        ++end;
        take(is_decimal);
      }
      const std::size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0;
      if ((at(end) | 0x20) == 'e' && is_decimal(at(end + 1 + sign))) {
        is_float = true;
        digits += 'e';
        if (sign == 1) digits += at(end + 1);
        end += 1 + sign;
        take(is_decimal);
      }
    }
    if (is_float) {
      push(Kind::kFloat).value = Value(std::strtod(digits.c_str(), nullptr));
    } else {
      std::int64_t integer = 0;
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), integer, base);
      if (result.ec != std::errc() || result.ptr != digits.data() + digits.size())
        fail("a number that is not possible");
      push(Kind::kInteger, digits).value = Value(integer);
    }
    at_ = end;
  }

  void lex_string(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string is never closed");
    push(Kind::kString, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    move_to(end + 1);
  }

  /// Escapes as in Python's string literals.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 >= text.size()) {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      constexpr std::string_view kNames = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
      if (const std::size_t index = kNames.find(c); index != std::string_view::npos) {
        out += kMeanings[index];
      } else if (c == '\n') {
        continue;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const std::size_t width = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        unicode::append(out, code_point(text.substr(i + 1, width), width, 16));
        i += width;
      } else if (c >= '0' && c <= '7') {
        std::size_t width = 1;
        while (width < 3 && i + width < text.size() && text[i + width] >= '0' && text[i + width] <= '7') ++width;
        unicode::append(out, code_point(text.substr(i, width), width, 8));
        i += width - 1;
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  char32_t code_point(std::string_view digits, std::size_t width, int base) const {
    std::uint32_t code = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), code, base);
    const bool whole = digits.size() == width && result.ec == std::errc() && result.ptr == digits.data() + width;
    if (!whole || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      fail("an escape in a string names no character");
    return code;
  }

  std::string source_;
  const std::string& name_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  if (unicode::find_invalid(source) != std::string_view::npos)
    throw bad_input("{}: the template is not valid UTF-8", name);
  return Lexer(normalize_newlines(source), name).run();
}

}  // namespace primus::tokenizer::jinja
