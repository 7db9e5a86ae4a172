#include "base/error.h"
#include "tokenizer/jinja/runtime.h"
#include "tokenizer/json_text.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Value::Kind;

}  // namespace

std::string_view python_type(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNull:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      return "object";
  }
  return "object";
}

std::string to_repr(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNull:
      return "None";
    case Kind::kBool:
      return value.as_bool() ? "True" : "False";
    case Kind::kInt:
      return fmt::format("{}", value.as_int());
    case Kind::kBigInt:
      return value.big_int_digits();
    case Kind::kFloat:
      return python_float(value.as_float());
    case Kind::kString: {
      const std::string& text = value.as_string();
      const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
      std::string out(1, quote);
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const std::uint32_t c = unicode::next(text, at);
        if (c == '\n' || c == '\r' || c == '\t') {
          out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
        } else if (c == '\\' || c == static_cast<unsigned char>(quote)) {
          out += '\\';
          out += static_cast<char>(c);
        } else if (unicode::is_printable(c)) {
          out.append(text, begin, at - begin);
        } else {
          out += c < 0x100     ? fmt::format("\\x{:02x}", c)
                 : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                               : fmt::format("\\U{:08x}", c);
        }
      }
      return out + quote;
    }
    case Kind::kList:
    case Kind::kTuple: {
      const bool tuple = value.kind() == Kind::kTuple;
      std::string out(1, tuple ? '(' : '[');
      const List& items = value.as_list();
      for (std::size_t i = 0; i < items.size(); ++i) out += (i > 0 ? ", " : "") + to_repr(items[i]);
      if (tuple && items.size() == 1) out += ',';
      return out + (tuple ? ')' : ']');
    }
    case Kind::kDict: {
      std::string out = "{";
      bool first = true;
      for (const auto& [key, member] : value.as_dict()) {
        out += (first ? "" : ", ") + to_repr(Value(key)) + ": " + to_repr(member);
        first = false;
      }
      return out + "}";
    }
    case Kind::kObject:
      return fmt::format("<{}>", object_of(value).type_name());
  }
  return "";
}

std::string to_text(const Value& value) {
  if (value.is_string()) return value.as_string();
  return value.is_undefined() ? "" : to_repr(value);
}

std::string_view text_view(const Value& value, std::string& storage) {
  if (value.is_string()) return value.as_string();
  storage = to_text(value);
  return storage;
}

}  // namespace primus::tokenizer::jinja
