#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "tokenizer/json_text.h"
#include "tokenizer/unicode.h"
#include "tokenizer/value.h"

namespace primus::tokenizer {
namespace {

constexpr int kMaxDepth = 200;

class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  Value read_whole() {
    if (const std::size_t bad = unicode::find_invalid(text_); bad != std::string_view::npos) {
      at_ = bad;
      fail("text in UTF-8");
    }
    skip_space();
    Value value = read_value(0);
    skip_space();
    if (at_ != text_.size()) fail("the end of the text");
    return value;
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    std::size_t line = 1, line_begin = 0;
    for (std::size_t i = 0; i < at_ && i < text_.size(); ++i) {
      if (text_[i] == '\n') {
        ++line;
        line_begin = i + 1;
      }
    }
    throw bad_input("{}: line {}, column {}: expected {}", name_, line, at_ - line_begin + 1, expected);
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Value read_value(int depth) {
    if (depth > kMaxDepth) fail("a value nested less than 200 deep");
    switch (peek()) {
      case '{':
        return read_dict(depth);
      case '[':
        return read_list(depth);
      case '"':
        return Value(read_string());
      case 't':
        if (take("true")) return Value(true);
        break;
      case 'f':
        if (take("false")) return Value(false);
        break;
      case 'n':
        if (take("null")) return Value();
        break;
      case 'N':
        if (take("NaN")) return Value(std::numeric_limits<double>::quiet_NaN());
        break;
      case 'I':
        if (take("Infinity")) return Value(std::numeric_limits<double>::infinity());
        break;
      case '-':
        if (take("-Infinity")) return Value(-std::numeric_limits<double>::infinity());
        return read_number();
      default:
        if (peek() >= '0' && peek() <= '9') return read_number();
    }
    fail("a value");
  }

  Value read_dict(int depth) {
    Dict members;
    ++at_;
    skip_space();
    if (take("}")) return Value(std::move(members));
    while (true) {
      if (peek() != '"') fail("a key in double quotes");
      std::string key = read_string();
      skip_space();
      if (!take(":")) fail("':'");
      skip_space();
      members.set(std::move(key), read_value(depth + 1));
      skip_space();
      if (take("}")) return Value(std::move(members));
      if (!take(",")) fail("',' or '}'");
      skip_space();
    }
  }

  Value read_list(int depth) {
    List items;
    ++at_;
    skip_space();
    if (take("]")) return Value(std::move(items));
    while (true) {
      items.push_back(read_value(depth + 1));
      skip_space();
      if (take("]")) return Value(std::move(items));
      if (!take(",")) fail("',' or ']'");
      skip_space();
    }
  }

  Value read_number() {
    const std::size_t begin = at_;
    const auto digits = [&] {
      const std::size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      return at_ - first;
    };
    take("-");
    const bool zero = peek() == '0';
    const std::size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) fail("a number");
    bool is_float = false;
    if (peek() == '.') {
      ++at_;
      is_float = true;
      if (digits() == 0) fail("a digit");
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      is_float = true;
      if (!take("+")) take("-");
      if (digits() == 0) fail("a digit");
    }
    const char* first = text_.data() + begin;
    const char* last = text_.data() + at_;
    if (!is_float) {
      std::int64_t integer = 0;
      if (std::from_chars(first, last, integer).ec == std::errc()) return Value(integer);
      return Value::big_int(std::string(first, last));
    }
    double number = 0;
    if (std::from_chars(first, last, number).ec == std::errc::result_out_of_range) {
      number = std::strtod(std::string(first, last).c_str(), nullptr);  // 0 or infinity, with the sign
    }
    return Value(number);
  }

  char32_t read_hex4() {
    if (at_ + 4 > text_.size()) fail("four hexadecimal digits");
    std::uint32_t code = 0;
    const auto result = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (result.ec != std::errc() || result.ptr != text_.data() + at_ + 4) fail("four hexadecimal digits");
    at_ += 4;
    return code;
  }

  std::string read_string() {
    ++at_;
    std::string out;
    while (true) {
      const std::size_t begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      out.append(text_, begin, at_ - begin);
      if (at_ >= text_.size()) fail("'\"' at the end of a string");
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return out;
      }
      if (c != '\\') fail("an escaped control character (\\n, \\t, \\u001f)");
      ++at_;
      read_escape(out);
    }
  }

  void read_escape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char c = peek();
    if (c == 'u') {
      ++at_;
      char32_t code = read_hex4();
      if (code >= 0xD800 && code < 0xE000) {
        if (code >= 0xDC00 || !take("\\u")) fail("a whole surrogate pair");
        const char32_t low = read_hex4();
        if (low < 0xDC00 || low > 0xDFFF) fail("a whole surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      unicode::append(out, code);
      return;
    }
    const std::size_t index = c == '\0' ? std::string_view::npos : kNames.find(c);
    if (index == std::string_view::npos) fail("an escape that JSON has");
    out += kMeanings[index];
    ++at_;
  }

  std::string_view text_;
  std::string_view name_;
  std::size_t at_ = 0;
};

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {
    level_ = !style.indent_text.empty() ? style.indent_text
                                        : std::string(static_cast<std::size_t>(std::max(style.indent, 0)), ' ');
    pretty_ = style.indent >= 0 || !style.indent_text.empty();
  }

  void write(const Value& value, int depth) {
    if (depth > 2 * kMaxDepth) throw bad_input("tojson: nested too deep");
    switch (value.kind()) {
      case Value::Kind::kNull:
        out_ += "null";
        return;
      case Value::Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        return;
      case Value::Kind::kInt:
        out_ += fmt::format("{}", value.as_int());
        return;
      case Value::Kind::kBigInt:
        out_ += value.big_int_digits();
        return;
      case Value::Kind::kFloat:
        write_float(value.as_float());
        return;
      case Value::Kind::kString:
        append_json_string(out_, value.as_string(), style_.ensure_ascii);
        return;
      case Value::Kind::kList:
      case Value::Kind::kTuple:
        write_list(value.as_list(), depth);
        return;
      case Value::Kind::kDict:
        write_dict(value.as_dict(), depth);
        return;
      case Value::Kind::kUndefined:
      case Value::Kind::kObject:
        throw bad_input("tojson: {} cannot be written as JSON", value.kind_name());
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void write_float(double number) {
    if (std::isnan(number)) {
      out_ += "NaN";
    } else if (std::isinf(number)) {
      out_ += number > 0 ? "Infinity" : "-Infinity";
    } else {
      out_ += python_float(number);
    }
  }

  void new_line(int depth) {
    if (!pretty_) return;
    out_ += '\n';
    for (int i = 0; i < depth; ++i) out_ += level_;
  }

  void write_list(const List& items, int depth) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(depth + 1);
      write(items[i], depth + 1);
    }
    new_line(depth);
    out_ += ']';
  }

  void write_dict(const Dict& members, int depth) {
    if (members.empty()) {
      out_ += "{}";
      return;
    }
    std::vector<const Dict::Member*> order;
    for (const auto& member : members) order.push_back(&member);
    if (style_.sort_keys) {
      std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    out_ += '{';
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(depth + 1);
      append_json_string(out_, order[i]->first, style_.ensure_ascii);
      out_ += style_.key_separator;
      write(order[i]->second, depth + 1);
    }
    new_line(depth);
    out_ += '}';
  }

  const JsonStyle& style_;
  std::string level_;
  bool pretty_ = false;
  std::string out_;
};

}  // namespace

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const unsigned char c = static_cast<unsigned char>(text[at]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[at++];
    } else if (c >= 0x20 && (c < 0x7F || !ensure_ascii)) {
      out += text[at++];
    } else if (c < 0x80) {
      constexpr std::string_view kShort = "\b\f\n\r\t", kNames = "bfnrt";
      const std::size_t index = kShort.find(text[at++]);
      if (index != std::string_view::npos) {
        out += '\\';
        out += kNames[index];
      } else if (c == 0x7F) {
        out += '\x7F';
      } else {
        out += fmt::format("\\u{:04x}", c);
      }
    } else {
      const std::uint32_t code = unicode::next(text, at);
      if (code < 0x10000) {
        out += fmt::format("\\u{:04x}", code);
      } else {
        out +=
            fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF));
      }
    }
  }
  out += '"';
}

std::string python_float(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<std::size_t>(end - buffer));  // d.ddde±XX
  const std::size_t mark = shortest.find('e');
  int exponent = 0;
  std::from_chars(shortest.data() + mark + (shortest[mark + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);  // Python's repr switches there as well
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed).ptr;
  std::string text(buffer, fixed);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

Value parse_json(std::string_view text, std::string_view name) { return Reader(text, name).read_whole(); }

std::string to_json(const Value& value, const JsonStyle& style) {
  Writer writer(style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace primus::tokenizer
