#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/methods.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

const std::string& text_argument(const Arguments& arguments, std::size_t index, std::string_view name,
                                 std::string_view method) {
  const Value& value = arguments.require(index, name, method);
  if (value.is_string()) return value.as_string();
  throw Fault(fmt::format("{}: '{}' must be a string, not {}", method, name, python_type(value)));
}

Value split_at(const std::string& text, const std::string& separator, std::int64_t most, bool from_right) {
  if (separator.empty()) throw Fault("empty separator");
  List parts;
  std::size_t begin = 0, end = text.size();
  while (most != 0) {
    const std::size_t at =
        from_right ? (end >= separator.size() ? text.rfind(separator, end - separator.size()) : std::string::npos)
                   : text.find(separator, begin);
    if (at == std::string::npos) break;
    if (from_right) {
      parts.emplace_back(text.substr(at + separator.size(), end - at - separator.size()));
      end = at;
    } else {
      parts.emplace_back(text.substr(begin, at - begin));
      begin = at + separator.size();
    }
    --most;
  }
  parts.emplace_back(text.substr(begin, end - begin));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return Value(std::move(parts));
}

bool space_at(std::string_view text, std::size_t at, std::size_t& after) {
  after = at;
  return unicode::is_white_space(unicode::next(text, after));
}

Value split_at_space(const std::string& text, std::int64_t most, bool from_right) {
  List parts;
  std::size_t at = 0, after = 0, end = text.size();
  if (from_right && most >= 0) {
    while (true) {
      while (end > 0 && space_at(text, unicode::previous(text, end), after)) end = unicode::previous(text, end);
      if (end == 0) break;
      std::size_t begin = end;
      if (most == 0) {
        begin = 0;
      } else {
        while (begin > 0 && !space_at(text, unicode::previous(text, begin), after))
          begin = unicode::previous(text, begin);
      }
      parts.emplace_back(most == 0 ? strip(std::string_view(text).substr(0, end), nullptr, false, true)
                                   : text.substr(begin, end - begin));
      if (most-- == 0) break;
      end = begin;
    }
    std::reverse(parts.begin(), parts.end());
    return Value(std::move(parts));
  }
  while (true) {
    while (at < text.size() && space_at(text, at, after)) at = after;
    if (at >= text.size()) break;
    if (most == 0) {
      parts.emplace_back(text.substr(at));
      break;
    }
    const std::size_t begin = at;
    while (at < text.size() && !space_at(text, at, after)) at = after;
    parts.emplace_back(text.substr(begin, at - begin));
    --most;
  }
  return Value(std::move(parts));
}

template <bool kFromRight>
Value split_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  arguments.check("split", 2, {"sep", "maxsplit"});
  const Value* separator = arguments.find(0, "sep");
  const Value* most = arguments.find(1, "maxsplit");
  const std::int64_t limit = most == nullptr ? -1 : to_integer(*most, "maxsplit");
  interpreter.count_steps(self.as_string().size() / 16);
  if (separator == nullptr || separator->is_null()) return split_at_space(self.as_string(), limit, kFromRight);
  return split_at(self.as_string(), text_argument(arguments, 0, "sep", "split"), limit, kFromRight);
}

Value splitlines(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("splitlines", 1, {"keepends"});
  const Value* keep = arguments.find(0, "keepends");
  const bool keep_ends = keep != nullptr && truthy(*keep);
  const std::string& text = self.as_string();
  List lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at;
    const char32_t c = unicode::next(text, at);
    const bool is_end = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!is_end) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return Value(std::move(lines));
}

template <bool kLeft, bool kRight>
Value strip_method(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("strip", 1, {"chars"});
  const Value* characters = arguments.find(0, "chars");
  if (characters != nullptr && characters->is_null()) characters = nullptr;
  if (characters != nullptr && !characters->is_string()) throw Fault("strip: its argument must be a string");
  return Value(strip(self.as_string(), characters, kLeft, kRight));
}

/// The prefixes of startswith and the suffixes of endswith: a string or a tuple of them.
template <bool kStart>
Value affix_method(Interpreter&, const Value& self, const Arguments& arguments) {
  const Value& affix = arguments.require(0, kStart ? "prefix" : "suffix", kStart ? "startswith" : "endswith");
  const Value* first = arguments.find(1, "start");
  const Value* last = arguments.find(2, "end");
  Value part = self;
  if (first != nullptr || last != nullptr) {
    part = slice(self, first == nullptr ? Value() : *first, last == nullptr ? Value() : *last, Value());
  }
  const auto matches = [&](const Value& wanted) {
    if (!wanted.is_string()) {
      throw Fault(fmt::format("{} needs a string, not {}", kStart ? "startswith" : "endswith", python_type(wanted)));
    }
    return kStart ? part.as_string().starts_with(wanted.as_string()) : part.as_string().ends_with(wanted.as_string());
  };
  if (affix.kind() != Value::Kind::kTuple) return Value(matches(affix));
  return Value(std::any_of(affix.as_list().begin(), affix.as_list().end(), matches));
}

template <bool kFromRight, bool kMustExist>
Value find_method(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("find", 3);
  const std::string& wanted = text_argument(arguments, 0, "sub", "find");
  const Value* first = arguments.find(1, "start");
  const Value* last = arguments.find(2, "end");
  Value part = self;
  std::int64_t shift = 0;
  if (first != nullptr || last != nullptr) {
    const Value start = first == nullptr ? Value() : *first;
    part = slice(self, start, last == nullptr ? Value() : *last, Value());
    const auto size = static_cast<std::int64_t>(length(self));
    shift = start.is_null() ? 0 : to_integer(start, "start");
    shift = shift < 0 ? std::max<std::int64_t>(0, shift + size) : shift;
  }
  const std::string& text = part.as_string();
  const std::size_t at = kFromRight ? text.rfind(wanted) : text.find(wanted);
  if (at == std::string::npos) {
    if (kMustExist) throw Fault("substring not found");
    return Value(-1);
  }
  return Value(static_cast<std::int64_t>(unicode::count(std::string_view(text).substr(0, at))) + shift);
}

Value replace_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  arguments.check("replace", 3, {"count"});
  const Value* count = arguments.find(2, "count");
  return replace_text(interpreter, self.as_string(), text_argument(arguments, 0, "old", "replace"),
                      text_argument(arguments, 1, "new", "replace"),
                      count == nullptr ? -1 : to_integer(*count, "count"));
}

Value join_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  arguments.check("join", 1);
  const List items = iterate(arguments.require(0, "iterable", "join"));
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      throw Fault(fmt::format("join: item {} must be a string, not {}", i, python_type(items[i])));
    }
    if (i > 0) out += self.as_string();
    interpreter.check_size(out.size() + items[i].as_string().size() + self.as_string().size(), 1);
    out += items[i].as_string();
  }
  return Value(std::move(out));
}

Value count_parts(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("count", 1);
  const std::string& text = self.as_string();
  const std::string& part = text_argument(arguments, 0, "sub", "count");
  if (part.empty()) return Value(unicode::count(text) + 1);
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return Value(count);
}

template <bool (*kHolds)(char32_t)>
Value all_characters(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("the method", 0);
  const std::string& text = self.as_string();
  for (std::size_t at = 0; at < text.size();) {
    if (!kHolds(unicode::next(text, at))) return Value(false);
  }
  return Value(!text.empty());
}

bool is_alphanumeric(char32_t c) { return unicode::is_letter(c) || unicode::is_number(c); }

/// isupper and islower: at least one cased character, and none of the other case.
template <bool kUpper>
Value is_case(Interpreter&, const Value& self, const Arguments&) {
  bool cased = false;
  for (std::size_t at = 0; at < self.as_string().size();) {
    const char32_t c = unicode::next(self.as_string(), at);
    if (kUpper ? unicode::is_lower(c) : unicode::is_upper(c)) return Value(false);
    cased = cased || (kUpper ? unicode::is_upper(c) : unicode::is_lower(c));
  }
  return Value(cased);
}

Value title_case(Interpreter&, const Value& self, const Arguments&) {
  std::string out;
  bool inside = false;
  for (std::size_t at = 0; at < self.as_string().size();) {
    const char32_t c = unicode::next(self.as_string(), at);
    unicode::append(out, inside ? unicode::to_lower(c) : unicode::to_title(c));
    inside = unicode::is_letter(c);
  }
  return Value(std::move(out));
}

Value swap_case(Interpreter&, const Value& self, const Arguments&) {
  std::string out;
  for (std::size_t at = 0; at < self.as_string().size();) {
    const char32_t c = unicode::next(self.as_string(), at);
    unicode::append(out, unicode::is_upper(c) ? unicode::to_lower(c) : unicode::to_upper(c));
  }
  return Value(std::move(out));
}

enum class Side { kLeft, kRight, kBoth };

template <Side kTextSide>
Value justify(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  arguments.check("ljust", 2);
  const std::int64_t width = to_integer(arguments.require(0, "width", "ljust"), "width");
  const std::string fill = arguments.positional.size() > 1 ? text_argument(arguments, 1, "fillchar", "ljust") : " ";
  if (unicode::count(fill) != 1) throw Fault("the fill character must be exactly one character long");
  const auto size = static_cast<std::int64_t>(unicode::count(self.as_string()));
  if (width <= size) return self;
  const auto missing = static_cast<std::size_t>(width - size);
  interpreter.check_size(fill.size(), missing);
  std::size_t left = kTextSide == Side::kLeft ? 0 : kTextSide == Side::kRight ? missing : missing / 2;
  if (kTextSide == Side::kBoth && missing % 2 == 1 && width % 2 == 1) ++left;
  std::string out;
  for (std::size_t i = 0; i < left; ++i) out += fill;
  out += self.as_string();
  for (std::size_t i = left; i < missing; ++i) out += fill;
  return Value(std::move(out));
}

Value zero_fill(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  arguments.check("zfill", 1);
  const std::int64_t width = to_integer(arguments.require(0, "width", "zfill"), "width");
  std::string text = self.as_string();
  const auto size = static_cast<std::int64_t>(unicode::count(text));
  if (width <= size) return self;
  interpreter.check_size(static_cast<std::size_t>(width), 1);
  const std::size_t sign = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
  return Value(text.insert(sign, static_cast<std::size_t>(width - size), '0'));
}

template <bool kPrefix>
Value remove_affix(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("removeprefix", 1);
  const std::string& affix = text_argument(arguments, 0, "affix", kPrefix ? "removeprefix" : "removesuffix");
  const std::string& text = self.as_string();
  if (kPrefix ? !text.starts_with(affix) : !text.ends_with(affix)) return self;
  return Value(kPrefix ? text.substr(affix.size()) : text.substr(0, text.size() - affix.size()));
}

template <bool kFromRight>
Value partition(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("partition", 1);
  const std::string& text = self.as_string();
  const std::string& separator = text_argument(arguments, 0, "sep", "partition");
  if (separator.empty()) throw Fault("empty separator");
  const std::size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos) {
    return kFromRight ? Value::tuple({Value(""), Value(""), self}) : Value::tuple({self, Value(""), Value("")});
  }
  return Value::tuple({Value(text.substr(0, at)), Value(separator), Value(text.substr(at + separator.size()))});
}

}  // namespace

const std::map<std::string_view, Method>& string_methods() {
  static const std::map<std::string_view, Method> methods = {
      {"capitalize",
       [](Interpreter&, const Value& self, const Arguments&) { return Value(capitalize(self.as_string())); }},
      {"casefold", [](Interpreter&, const Value& self, const Arguments&) { return Value(lower(self.as_string())); }},
      {"center", justify<Side::kBoth>},
      {"count", count_parts},
      {"endswith", affix_method<false>},
      {"find", find_method<false, false>},
      {"format", [](Interpreter&, const Value& self,
                    const Arguments& arguments) { return Value(brace_format(self.as_string(), arguments)); }},
      {"index", find_method<false, true>},
      {"isalnum", all_characters<is_alphanumeric>},
      {"isalpha", all_characters<unicode::is_letter>},
      {"isdecimal", all_characters<unicode::is_digit>},
      {"isdigit", all_characters<unicode::is_digit>},
      {"islower", is_case<false>},
      {"isnumeric", all_characters<unicode::is_number>},
      {"isspace", all_characters<unicode::is_white_space>},
      {"isupper", is_case<true>},
      {"join", join_method},
      {"ljust", justify<Side::kLeft>},
      {"lower", [](Interpreter&, const Value& self, const Arguments&) { return Value(lower(self.as_string())); }},
      {"lstrip", strip_method<true, false>},
      {"partition", partition<false>},
      {"removeprefix", remove_affix<true>},
      {"removesuffix", remove_affix<false>},
      {"replace", replace_method},
      {"rfind", find_method<true, false>},
      {"rindex", find_method<true, true>},
      {"rjust", justify<Side::kRight>},
      {"rpartition", partition<true>},
      {"rsplit", split_method<true>},
      {"rstrip", strip_method<false, true>},
      {"split", split_method<false>},
      {"splitlines", splitlines},
      {"startswith", affix_method<true>},
      {"strip", strip_method<true, true>},
      {"swapcase", swap_case},
      {"title", title_case},
      {"upper", [](Interpreter&, const Value& self, const Arguments&) { return Value(upper(self.as_string())); }},
      {"zfill", zero_fill},
  };
  return methods;
}

}  // namespace primus::tokenizer::jinja
