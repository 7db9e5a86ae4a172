#include "tokenizer/jinja/filters.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

Value default_value(Interpreter&, const Value& value, const Arguments& arguments) {
  arguments.check("default", 2, {"default_value", "boolean"});
  const Value* otherwise = arguments.find(0, "default_value");
  const Value* boolean = arguments.find(1, "boolean");
  const bool missing = value.is_undefined() || (boolean != nullptr && truthy(*boolean) && !truthy(value));
  if (!missing) return value;
  return otherwise == nullptr ? Value("") : *otherwise;
}

Value to_json_text(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("tojson", 4, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  const auto flag = [&](std::size_t index, std::string_view name) {
    const Value* given = arguments.find(index, name);
    return given != nullptr && truthy(*given);
  };
  style.ensure_ascii = flag(0, "ensure_ascii");
  style.sort_keys = flag(3, "sort_keys");
  if (const Value* indent = arguments.find(1, "indent"); indent != nullptr && !indent->is_null()) {
    style.item_separator = ",";
    if (indent->is_string()) {
      style.indent = 0;
      style.indent_text = indent->as_string();
    } else {
      style.indent = static_cast<int>(std::clamp<std::int64_t>(to_integer(*indent, "indent"), 0, 100));
    }
  }
  if (const Value* separators = arguments.find(2, "separators"); separators != nullptr && !separators->is_null()) {
    const List pair = iterate(*separators);
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      throw Fault("tojson: separators must be two strings");
    }
    style.item_separator = pair[0].as_string();
    style.key_separator = pair[1].as_string();
  }
  std::string text = to_json(value, style);
  interpreter.check_size(text.size(), 1);
  return Value(std::move(text));
}

Value join(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("join", 2, {"d", "attribute"});
  const Value* separator = arguments.find(0, "d");
  const Value* attribute = arguments.find(1, "attribute");
  const std::string between = separator == nullptr ? "" : to_text(*separator);
  std::string out, storage;
  bool first = true;
  for (const Value& entry : iterate(value)) {
    const Value part = attribute == nullptr ? entry : member_at_path(interpreter, entry, *attribute);
    const std::string_view text = text_view(part, storage);
    interpreter.check_size(out.size() + text.size() + between.size(), 1);
    if (!first) out += between;
    first = false;
    out += text;
  }
  return Value(std::move(out));
}

Value indent(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("indent", 3, {"width", "first", "blank"});
  const Value* width = arguments.find(0, "width");
  const auto flag = [&](std::size_t index, std::string_view name) {
    const Value* given = arguments.find(index, name);
    return given != nullptr && truthy(*given);
  };
  std::string margin(4, ' ');
  if (width != nullptr && width->is_string()) {
    margin = width->as_string();
  } else if (width != nullptr) {
    margin.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(to_integer(*width, "width"), 0, 10000)), ' ');
  }
  const bool indent_first = flag(1, "first"), indent_blank = flag(2, "blank");
  const Value lines = *call_method(interpreter, Value(to_text(value) + "\n"), "splitlines", {});
  std::string out;
  for (std::size_t i = 0; i < lines.as_list().size(); ++i) {
    const std::string& line = lines.as_list()[i].as_string();
    if (i > 0) out += '\n';
    if (i == 0 ? indent_first : (indent_blank || !line.empty())) out += margin;
    interpreter.check_size(out.size() + line.size(), 1);
    out += line;
  }
  return Value(std::move(out));
}

Value trim(Interpreter&, const Value& value, const Arguments& arguments) {
  arguments.check("trim", 1, {"chars"});
  const Value* characters = arguments.find(0, "chars");
  if (characters != nullptr && characters->is_null()) characters = nullptr;
  if (characters != nullptr && !characters->is_string()) throw Fault("trim: chars must be a string");
  std::string storage;
  return Value(strip(text_view(value, storage), characters, true, true));
}

Value replace(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("replace", 3, {"old", "new", "count"});
  const Value* count = arguments.find(2, "count");
  const std::string from = to_text(arguments.require(0, "old", "replace"));
  const std::string to = to_text(arguments.require(1, "new", "replace"));
  const bool all = count == nullptr || count->is_null();
  return replace_text(interpreter, to_text(value), from, to, all ? -1 : to_integer(*count, "count"));
}

/// A letter begins a word behind white space and behind - ( { [ <.
Value title(Interpreter&, const Value& value, const Arguments&) {
  std::string out;
  bool inside = false;
  const std::string text = to_text(value);
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = unicode::next(text, at);
    const bool boundary = unicode::is_white_space(c) ||
                          (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) != std::string_view::npos);
    unicode::append(out, boundary ? c : inside ? unicode::to_lower(c) : unicode::to_upper(c));
    inside = !boundary;
  }
  return Value(std::move(out));
}

Value truncate(Interpreter&, const Value& value, const Arguments& arguments) {
  arguments.check("truncate", 4, {"length", "killwords", "end", "leeway"});
  const Value* length_given = arguments.find(0, "length");
  const Value* kill = arguments.find(1, "killwords");
  const Value* end_given = arguments.find(2, "end");
  const Value* leeway_given = arguments.find(3, "leeway");
  const std::int64_t most = length_given == nullptr ? 255 : to_integer(*length_given, "length");
  const bool has_leeway = leeway_given != nullptr && !leeway_given->is_null();
  const std::int64_t leeway = has_leeway ? to_integer(*leeway_given, "leeway") : 5;
  const std::string end = end_given == nullptr ? "..." : to_text(*end_given);
  Value text(to_text(value));
  const auto size = static_cast<std::int64_t>(length(text));
  const std::int64_t keep = most - static_cast<std::int64_t>(unicode::count(end));
  if (keep < 0 || leeway < 0) throw Fault("truncate: the length is shorter than the end");
  if (size <= most + leeway) return text;
  std::string head = slice(text, Value(), Value(keep), Value()).as_string();
  if (kill == nullptr || !truthy(*kill)) {
    const std::size_t space = head.rfind(' ');
    if (space != std::string::npos) head.resize(space);
  }
  return Value(head + end);
}

Value escape(Interpreter& interpreter, const Value& value, const Arguments&) {
  std::string out;
  const std::string text = to_text(value);
  interpreter.check_size(text.size(), 6);
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return Value(std::move(out));
}

Value urlencode(Interpreter& interpreter, const Value& value, const Arguments&) {
  std::string out;
  const std::string text = to_text(value);
  interpreter.check_size(text.size(), 3);
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_.-~/").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return Value(std::move(out));
}

Value to_int(Interpreter&, const Value& value, const Arguments& arguments) {
  arguments.check("int", 2, {"default", "base"});
  const Value* otherwise = arguments.find(0, "default");
  const Value* base_given = arguments.find(1, "base");
  const std::int64_t base = base_given == nullptr ? 10 : to_integer(*base_given, "base");
  Value fallback = otherwise == nullptr ? Value(0) : *otherwise;
  if (value.is_int() || value.kind() == Value::Kind::kBigInt) return value;
  if (value.is_bool()) return Value(value.as_bool() ? 1 : 0);
  double number = 0;
  if (value.is_string()) {
    const std::string text = strip(value.as_string(), nullptr, true, true);
    char* end = nullptr;
    errno = 0;
    if (base >= 2 && base <= 36) {
      const long long integer = std::strtoll(text.c_str(), &end, static_cast<int>(base));
      if (!text.empty() && *end == '\0' && errno == 0) return Value(static_cast<std::int64_t>(integer));
    }
    number = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') return fallback;
  } else if (value.is_float()) {
    number = value.as_float();
  } else {
    return fallback;
  }
  if (!std::isfinite(number) || std::abs(number) > 9e18) return fallback;
  return Value(static_cast<std::int64_t>(number));
}

Value to_float(Interpreter&, const Value& value, const Arguments& arguments) {
  arguments.check("float", 1, {"default"});
  const Value* otherwise = arguments.find(0, "default");
  Value fallback = otherwise == nullptr ? Value(0.0) : *otherwise;
  if (is_number(value)) return Value(value.is_bool() ? (value.as_bool() ? 1.0 : 0.0) : value.as_float());
  if (!value.is_string()) return fallback;
  const std::string text = strip(value.as_string(), nullptr, true, true);
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  return text.empty() || *end != '\0' ? fallback : Value(number);
}

Value round(Interpreter&, const Value& value, const Arguments& arguments) {
  arguments.check("round", 2, {"precision", "method"});
  const Value* precision_given = arguments.find(0, "precision");
  const Value* method = arguments.find(1, "method");
  const std::int64_t precision =
      precision_given == nullptr ? 0 : std::clamp<std::int64_t>(to_integer(*precision_given, "precision"), -20, 20);
  const std::string kind = method == nullptr ? "common" : to_text(*method);
  if (kind == "common") {
    if (value.is_int() && precision >= 0) return value;
    if (!is_number(value)) throw Fault("round needs a number");
    if (precision >= 0) return Value(std::strtod(fmt::format("{:.{}f}", value.as_float(), precision).c_str(), nullptr));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_float() * scale;
  if (kind == "ceil") return Value(std::ceil(scaled) / scale);
  if (kind == "floor") return Value(std::floor(scaled) / scale);
  if (kind != "common") throw Fault("round: method must be common, ceil or floor");
  return Value(std::nearbyint(scaled) / scale);
}

Value absolute(Interpreter&, const Value& value, const Arguments&) {
  if (value.is_float()) return Value(std::abs(value.as_float()));
  return to_integer(value, "abs") < 0 ? negate(value) : value;
}

Value center(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Arguments width = arguments;
  if (width.positional.empty() && width.named.empty()) width.positional.emplace_back(80);
  return *call_method(interpreter, Value(to_text(value)), "center", width);
}

Value format(Interpreter&, const Value& value, const Arguments& arguments) {
  if (arguments.named.empty()) return Value(percent_format(to_text(value), Value::tuple(arguments.positional)));
  Dict members;
  for (const auto& [name, member] : arguments.named) members.set(name, member);
  return Value(percent_format(to_text(value), Value(std::move(members))));
}

Value word_count(Interpreter& interpreter, const Value& value, const Arguments&) {
  return Value(call_method(interpreter, Value(to_text(value)), "split", {})->as_list().size());
}

Value itself(Interpreter&, const Value& value, const Arguments&) { return value; }
Value to_string(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() ? value : Value(to_text(value));
}
Value size_of(Interpreter&, const Value& value, const Arguments&) { return Value(length(value)); }
Value upper_case(Interpreter&, const Value& value, const Arguments&) { return Value(upper(to_text(value))); }
Value lower_case(Interpreter&, const Value& value, const Arguments&) { return Value(lower(to_text(value))); }
Value capital(Interpreter&, const Value& value, const Arguments&) { return Value(capitalize(to_text(value))); }

const auto kFilters = std::to_array<NamedFilter>({
    {"abs", absolute},
    {"attr", list_filters::attr},
    {"batch", list_filters::batch},
    {"capitalize", capital},
    {"center", center},
    {"count", size_of},
    {"d", default_value},
    {"default", default_value},
    {"dictsort", list_filters::dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", list_filters::first},
    {"float", to_float},
    {"forceescape", escape},
    {"format", format},
    {"groupby", list_filters::groupby},
    {"indent", indent},
    {"int", to_int},
    {"items", list_filters::items},
    {"join", join},
    {"last", list_filters::last},
    {"length", size_of},
    {"list", list_filters::list},
    {"lower", lower_case},
    {"map", list_filters::map},
    {"max", list_filters::max},
    {"min", list_filters::min},
    {"reject", list_filters::reject},
    {"rejectattr", list_filters::rejectattr},
    {"replace", replace},
    {"reverse", list_filters::reverse},
    {"round", round},
    {"safe", itself},
    {"select", list_filters::select},
    {"selectattr", list_filters::selectattr},
    {"slice", list_filters::slice},
    {"sort", list_filters::sort},
    {"string", to_string},
    {"sum", list_filters::sum},
    {"title", title},
    {"tojson", to_json_text},
    {"trim", trim},
    {"truncate", truncate},
    {"unique", list_filters::unique},
    {"upper", upper_case},
    {"urlencode", urlencode},
    {"wordcount", word_count},
});

}  // namespace

int find_filter(std::string_view name) {
  const auto found =
      std::find_if(kFilters.begin(), kFilters.end(), [&](const NamedFilter& filter) { return filter.name == name; });
  return found == kFilters.end() ? -1 : static_cast<int>(found - kFilters.begin());
}

std::string filter_names() {
  std::string names;
  for (const NamedFilter& filter : kFilters) names.append(names.empty() ? "" : ", ").append(filter.name);
  return names;
}

Value apply_filter(Interpreter& interpreter, int filter, const Value& value, const Arguments& arguments) {
  return kFilters[static_cast<std::size_t>(filter)].filter(interpreter, value, arguments);
}

}  // namespace primus::tokenizer::jinja
