#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/runtime.h"
#include "tokenizer/json_text.h"
#include "tokenizer/unicode.h"

/// Text helpers that methods, filters and operators share.
namespace primus::tokenizer::jinja {
namespace {

std::string mapped(std::string_view text, char32_t (*to)(char32_t)) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) unicode::append(out, to(unicode::next(text, at)));
  return out;
}

constexpr std::int64_t kMaxWidth = 1000;  // of a formatted field

/// One conversion of a % format: flags, width, precision, kind.
struct Conversion {
  bool left = false, zero = false, plus = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char kind = 's';
};

std::string pad(std::string text, const Conversion& conversion, bool number) {
  const auto size = static_cast<std::int64_t>(unicode::count(text));
  if (size >= conversion.width) return text;
  const auto missing = static_cast<std::size_t>(conversion.width - size);
  if (conversion.left) return text + std::string(missing, ' ');
  if (!conversion.zero || !number) return std::string(missing, ' ') + text;
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return text.insert(sign, missing, '0');
}

std::string convert(const Conversion& conversion, const Value& value) {
  const auto precision = static_cast<int>(conversion.precision < 0 ? 6 : conversion.precision);
  const auto number = [&](std::string text) {
    if (conversion.plus && !text.starts_with('-')) text.insert(0, "+");
    return pad(std::move(text), conversion, true);
  };
  switch (conversion.kind) {
    case 's':
    case 'r': {
      std::string text = conversion.kind == 's' ? to_text(value) : to_repr(value);
      if (conversion.precision >= 0) {
        text = slice(Value(text), Value(), Value(conversion.precision), Value()).as_string();
      }
      return pad(std::move(text), conversion, false);
    }
    case 'd':
    case 'i':
      if (value.is_float()) return number(fmt::format("{:.0f}", std::trunc(value.as_float())));
      return number(fmt::format("{}", to_integer(value, "%d")));
    case 'x':
      return number(fmt::format("{:x}", to_integer(value, "%x")));
    case 'X':
      return number(fmt::format("{:X}", to_integer(value, "%X")));
    case 'o':
      return number(fmt::format("{:o}", to_integer(value, "%o")));
    case 'f':
    case 'F':
    case 'e':
    case 'g': {
      if (!is_number(value)) throw Fault(fmt::format("must be real number, not {}", python_type(value)));
      const double real = value.is_bool() ? (value.as_bool() ? 1 : 0) : value.as_float();
      if (conversion.kind == 'e') return number(fmt::format("{:.{}e}", real, precision));
      if (conversion.kind == 'g') return number(fmt::format("{:.{}g}", real, precision));
      return number(fmt::format("{:.{}f}", real, precision));
    }
    default:
      throw Fault(fmt::format("the format %{} is not supported", conversion.kind));
  }
}

/// Digits at `at`, as a bounded number.
std::int64_t read_number(std::string_view text, std::size_t& at) {
  std::int64_t number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) number = number * 10 + (text[at] - '0');
  if (number > kMaxWidth) throw Fault(fmt::format("a format wider than {} is not supported", kMaxWidth));
  return number;
}

}  // namespace

std::string upper(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = unicode::next(text, at);
    if (c == 0xDF) {
      out += "SS";
    } else {
      unicode::append(out, unicode::to_upper(c));
    }
  }
  return out;
}

std::string lower(std::string_view text) { return mapped(text, unicode::to_lower); }

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  std::size_t at = 0;
  std::string out;
  unicode::append(out, unicode::to_title(unicode::next(text, at)));
  return out + lower(text.substr(at));
}

std::string strip(std::string_view text, const Value* characters, bool left, bool right) {
  const std::u32string set = characters == nullptr ? std::u32string() : unicode::decode(characters->as_string());
  const auto goes = [&](char32_t c) {
    if (characters != nullptr) return set.find(c) != std::u32string::npos;
    return unicode::is_white_space(c) || (c >= 0x1C && c <= 0x1F);  // Python's str.isspace
  };
  while (left && !text.empty()) {
    std::size_t at = 0;
    if (!goes(unicode::next(text, at))) break;
    text.remove_prefix(at);
  }
  while (right && !text.empty()) {
    const std::size_t before = unicode::previous(text, text.size());
    std::size_t at = before;
    if (!goes(unicode::next(text, at))) break;
    text = text.substr(0, before);
  }
  return std::string(text);
}

Value replace_text(Interpreter& interpreter, std::string_view text, std::string_view from, std::string_view to,
                   std::int64_t count) {
  std::string out;
  std::size_t done = 0;
  if (from.empty()) {  // between all characters
    for (std::size_t at = 0; count != 0; --count) {
      interpreter.check_size(out.size() + to.size() + text.size(), 1);
      out += to;
      if (at >= text.size()) break;
      unicode::next(text, at);
      out += text.substr(done, at - done);
      done = at;
    }
    return Value(std::string(out.append(text.substr(done))));
  }
  for (std::size_t at = text.find(from); at != std::string_view::npos && count != 0; at = text.find(from, done)) {
    interpreter.check_size(out.size() + to.size() + text.size(), 1);
    out += text.substr(done, at - done);
    out += to;
    done = at + from.size();
    --count;
  }
  return Value(std::string(out.append(text.substr(done))));
}

std::string percent_format(const std::string& format, const Value& values) {
  std::string out;
  std::size_t used = 0;
  const List single = {values};
  const List& positional = values.kind() == Value::Kind::kTuple ? values.as_list() : single;
  for (std::size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      out += format[at++];
      continue;
    }
    if (++at >= format.size()) throw Fault("incomplete format");
    if (format[at] == '%') {
      out += '%';
      ++at;
      continue;
    }
    const Value* value = nullptr;
    if (format[at] == '(') {
      const std::size_t close = format.find(')', at);
      if (close == std::string::npos) throw Fault("incomplete format key");
      value = values.find(std::string_view(format).substr(at + 1, close - at - 1));
      if (value == nullptr) throw Fault("a format key that the dict lacks");
      at = close + 1;
    }
    Conversion conversion;
    for (; at < format.size() && std::string_view("-0+ #").find(format[at]) != std::string_view::npos; ++at) {
      conversion.left = conversion.left || format[at] == '-';
      conversion.zero = conversion.zero || format[at] == '0';
      conversion.plus = conversion.plus || format[at] == '+';
    }
    conversion.width = read_number(format, at);
    if (at < format.size() && format[at] == '.') conversion.precision = read_number(format, ++at);
    if (at >= format.size()) throw Fault("incomplete format");
    conversion.kind = format[at++];
    if (value == nullptr) {
      if (used >= positional.size()) throw Fault("not enough arguments for format string");
      value = &positional[used++];
    }
    out += convert(conversion, *value);
  }
  if (used < positional.size() && !values.is_dict())
    throw Fault("not all arguments converted during string formatting");
  return out;
}

std::string brace_format(const std::string& format, const Arguments& arguments) {
  std::string out;
  std::size_t automatic = 0;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    if (c == '}') throw Fault("single '}' in a format string");
    if (c != '{') {
      out += c;
      continue;
    }
    const std::size_t close = format.find('}', at);
    if (close == std::string::npos) throw Fault("single '{' in a format string");
    const std::string field = format.substr(at + 1, close - at - 1);
    at = close;
    const std::size_t colon = field.find(':');
    const std::string name = field.substr(0, colon);
    const Value* value = nullptr;
    if (name.empty()) {
      value = arguments.find(automatic++, "");
    } else if (name.find_first_not_of("0123456789") == std::string::npos && name.size() < 6) {
      value = arguments.find(static_cast<std::size_t>(std::stoul(name)), "");
    } else {
      value = arguments.find(arguments.positional.size(), name);
    }
    if (value == nullptr) throw Fault(fmt::format("nothing fills the field '{}' of a format string", name));
    Conversion conversion;
    if (colon != std::string::npos && colon + 1 < field.size()) {
      std::size_t i = colon + 1;
      if (field[i] == '<' || field[i] == '>') conversion.left = field[i++] == '<';
      if (i < field.size() && field[i] == '0') conversion.zero = true;
      conversion.width = read_number(field, i);
      if (i < field.size() && field[i] == '.') conversion.precision = read_number(field, ++i);
      if (i < field.size()) conversion.kind = field[i++];
      if (i < field.size()) throw Fault(fmt::format("the format '{}' is not supported", field));
      if (conversion.kind == 's' && is_number(*value) && colon + 1 < field.size() && field[colon + 1] != '<') {
        conversion.kind = value->is_float() ? (conversion.precision < 0 ? 's' : 'g') : 'd';
      }
    }
    out += convert(conversion, *value);
  }
  return out;
}

}  // namespace primus::tokenizer::jinja
