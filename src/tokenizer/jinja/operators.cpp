#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/runtime.h"
#include "tokenizer/json_text.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Value::Kind;
using Op = Expr::Op;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

[[noreturn]] void undefined_fault(const Value& value) {
  throw Fault(value.undefined_name().empty() ? "the value is undefined" : value.undefined_name());
}

void need_defined(const Value& value) {
  if (value.is_undefined()) undefined_fault(value);
}

/// Integers and booleans as integers.
std::optional<std::int64_t> integer_of(const Value& value) {
  if (value.is_int()) return value.as_int();
  if (value.is_bool()) return value.as_bool() ? 1 : 0;
  return std::nullopt;
}

double float_of(const Value& value) { return value.is_bool() ? (value.as_bool() ? 1 : 0) : value.as_float(); }

std::string_view symbol_of(Op op) {
  constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">="};
  return kSymbols[static_cast<int>(op)];
}

[[noreturn]] void no_operation(Op op, const Value& a, const Value& b) {
  need_defined(a);
  need_defined(b);
  if (op == Op::kAdd && a.is_string()) {
    throw Fault(fmt::format("can only concatenate str (not \"{}\") to str", python_type(b)));
  }
  throw Fault(
      fmt::format("unsupported operand types for {}: '{}' and '{}'", symbol_of(op), python_type(a), python_type(b)));
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return quotient - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  std::int64_t result = 1;
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(result, base, &result)) throw Fault("an integer beyond 64 bits");
    if (result == 0 || result == 1) break;
    if (result == -1 && base == -1) return Value(static_cast<std::int64_t>(exponent % 2 == 1 ? -1 : 1));
  }
  return Value(result);
}

Value integers(Op op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::kPow:
      return integer_power(a, b);
    default: {
      if (b == 0) throw Fault("division by zero");
      if (op == Op::kDiv) return Value(static_cast<double>(a) / static_cast<double>(b));
      if (b == -1) return integers(Op::kSub, 0, op == Op::kMod ? 0 : a);
      result = op == Op::kMod ? a - floor_div(a, b) * b : floor_div(a, b);
    }
  }
  if (overflow) throw Fault("an integer beyond 64 bits");
  return Value(result);
}

Value floats(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd:
      return Value(a + b);
    case Op::kSub:
      return Value(a - b);
    case Op::kMul:
      return Value(a * b);
    case Op::kPow:
      return Value(std::pow(a, b));
    default:
      if (b == 0) throw Fault("division by zero");
      if (op == Op::kDiv) return Value(a / b);
      if (op == Op::kFloorDiv) return Value(std::floor(a / b));
      return Value(a - std::floor(a / b) * b);
  }
}

Value repeat(Interpreter& interpreter, const Value& value, std::int64_t times) {
  const std::size_t count = times < 0 ? 0 : static_cast<std::size_t>(times);
  if (value.is_string()) {
    const std::string& text = value.as_string();
    interpreter.check_size(text.size(), count);
    std::string out;
    out.reserve(text.size() * count);
    for (std::size_t i = 0; i < count && !text.empty(); ++i) out += text;
    return Value(std::move(out));
  }
  const List& items = value.as_list();
  interpreter.check_size(items.size() * sizeof(Value), count);
  List out;
  for (std::size_t i = 0; i < count && !items.empty(); ++i) out.insert(out.end(), items.begin(), items.end());
  return Value(std::move(out));
}

}  // namespace

bool is_number(const Value& value) { return value.is_int() || value.is_float() || value.is_bool(); }

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

std::int64_t to_integer(const Value& value, std::string_view what) {
  if (const auto integer = integer_of(value)) return *integer;
  need_defined(value);
  throw Fault(fmt::format("{} must be an integer, not {}", what, python_type(value)));
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNull:
      return false;
    case Kind::kBool:
      return value.as_bool();
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_float() != 0;
    case Kind::kString:
      return !value.as_string().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.as_list().empty();
    case Kind::kDict:
      return !value.as_dict().empty();
    case Kind::kBigInt:
    case Kind::kObject:
      return true;
  }
  return true;
}

bool equal(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) {
    const auto x = integer_of(a), y = integer_of(b);
    return x && y ? *x == *y : float_of(a) == float_of(b);
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNull:
      return true;
    case Kind::kBigInt:
      return a.big_int_digits() == b.big_int_digits();
    case Kind::kString:
      return a.as_string() == b.as_string();
    case Kind::kList:
    case Kind::kTuple:
      return a.same_object(b) ||
             std::equal(a.as_list().begin(), a.as_list().end(), b.as_list().begin(), b.as_list().end(),
                        [](const Value& x, const Value& y) { return equal(x, y); });
    case Kind::kDict: {
      if (a.as_dict().size() != b.as_dict().size()) return false;
      for (const auto& [key, value] : a.as_dict()) {
        const Value* other = b.find(key);
        if (other == nullptr || !equal(value, *other)) return false;
      }
      return true;
    }
    default:
      return a.same_object(b);
  }
}

bool less(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) {
    const auto x = integer_of(a), y = integer_of(b);
    return x && y ? *x < *y : float_of(a) < float_of(b);
  }
  if (a.is_string() && b.is_string()) return a.as_string() < b.as_string();  // UTF-8 keeps the order of code points
  if (a.is_list() && a.kind() == b.kind()) {
    const List& x = a.as_list();
    const List& y = b.as_list();
    for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equal(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  no_operation(Op::kLt, a, b);
}

bool contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      if (!item.is_string()) {
        need_defined(item);
        throw Fault(fmt::format("'in <string>' requires a string, not {}", python_type(item)));
      }
      return container.as_string().find(item.as_string()) != std::string::npos;
    case Kind::kDict:
      return item.is_string() && container.find(item.as_string()) != nullptr;
    default: {
      const List items = iterate(container);
      return std::any_of(items.begin(), items.end(), [&](const Value& value) { return equal(value, item); });
    }
  }
}

std::size_t length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return unicode::count(value.as_string());
    case Kind::kList:
    case Kind::kTuple:
      return value.as_list().size();
    case Kind::kDict:
      return value.as_dict().size();
    default:
      throw Fault(fmt::format("{} has no length", value.kind_name()));
  }
}

List iterate(const Value& value) {
  List out;
  switch (value.kind()) {
    case Kind::kUndefined:
      return out;
    case Kind::kString: {
      const std::string& text = value.as_string();
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        unicode::next(text, at);
        out.emplace_back(text.substr(begin, at - begin));
      }
      return out;
    }
    case Kind::kList:
    case Kind::kTuple:
      return value.as_list();
    case Kind::kDict:
      for (const auto& member : value.as_dict()) out.emplace_back(member.first);
      return out;
    case Kind::kObject:
      if (auto* generator = dynamic_cast<Generator*>(value.as_object().get())) return generator->take();
      [[fallthrough]];
    default:
      throw Fault(fmt::format("'{}' object is not iterable", python_type(value)));
  }
}

Value item(const Value& container, const Value& key, const Value& missing) {
  if (container.is_undefined()) undefined_fault(container);
  if (container.is_dict()) {
    const Value* found = key.is_string() ? container.find(key.as_string()) : nullptr;
    return found == nullptr ? missing : *found;
  }
  const auto index = integer_of(key);
  if (!index || !(container.is_list() || container.is_string())) return missing;
  const auto size = static_cast<std::int64_t>(length(container));
  const std::int64_t at = *index < 0 ? *index + size : *index;
  if (at < 0 || at >= size) return missing;
  if (container.is_list()) return container.as_list()[static_cast<std::size_t>(at)];
  const std::string& text = container.as_string();
  if (is_ascii(text)) return Value(std::string(1, text[static_cast<std::size_t>(at)]));
  std::size_t byte = 0;
  for (std::int64_t i = 0; i < at; ++i) unicode::next(text, byte);
  const std::size_t begin = byte;
  unicode::next(text, byte);
  return Value(text.substr(begin, byte - begin));
}

Value slice(const Value& container, const Value& start, const Value& stop, const Value& step) {
  need_defined(container);
  if (!container.is_list() && !container.is_string()) {
    throw Fault(fmt::format("'{}' object cannot be sliced", python_type(container)));
  }
  const auto bound = [](const Value& value) -> std::optional<std::int64_t> {
    if (value.is_null()) return std::nullopt;
    return to_integer(value, "a slice index");
  };
  const auto size = static_cast<std::int64_t>(length(container));
  const std::int64_t stride = bound(step).value_or(1);
  if (stride == 0) throw Fault("slice step cannot be zero");
  const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
  const auto clamp = [&](std::optional<std::int64_t> at, std::int64_t otherwise) {
    if (!at) return otherwise;
    return std::clamp(*at < 0 ? std::max(*at, -size - 1) + size : *at, low, high);
  };
  const std::int64_t first = clamp(bound(start), stride > 0 ? low : high);
  const std::int64_t last = clamp(bound(stop), stride > 0 ? high : low);
  std::vector<std::size_t> picked;
  for (std::int64_t i = first; stride > 0 ? i < last : i > last;) {
    picked.push_back(static_cast<std::size_t>(i));
    if (__builtin_add_overflow(i, stride, &i)) break;
  }
  if (container.is_list()) {
    List out;
    for (const std::size_t i : picked) out.push_back(container.as_list()[i]);
    return container.kind() == Kind::kTuple ? Value::tuple(std::move(out)) : Value(std::move(out));
  }
  const std::string& text = container.as_string();
  if (is_ascii(text)) {
    if (stride == 1) return Value(picked.empty() ? std::string() : text.substr(picked.front(), picked.size()));
    std::string out;
    for (const std::size_t i : picked) out += text[i];
    return Value(std::move(out));
  }
  const std::u32string characters = unicode::decode(text);
  std::string out;
  for (const std::size_t i : picked) unicode::append(out, characters[i]);
  return Value(std::move(out));
}

Value binary(Interpreter& interpreter, Op op, const Value& a, const Value& b) {
  if (op == Op::kAdd && a.is_string() && b.is_string()) {
    interpreter.check_size(a.as_string().size() + b.as_string().size(), 1);
    std::string text;
    text.reserve(a.as_string().size() + b.as_string().size());
    return Value(text.append(a.as_string()).append(b.as_string()));
  }
  if (is_number(a) && is_number(b)) {
    const auto x = integer_of(a), y = integer_of(b);
    return x && y ? integers(op, *x, *y) : floats(op, float_of(a), float_of(b));
  }
  if (op == Op::kAdd && a.is_list() && a.kind() == b.kind()) {
    interpreter.count_steps(a.as_list().size() + b.as_list().size());
    List out = a.as_list();
    out.insert(out.end(), b.as_list().begin(), b.as_list().end());
    return a.kind() == Kind::kTuple ? Value::tuple(std::move(out)) : Value(std::move(out));
  }
  if (op == Op::kMul) {
    if ((a.is_string() || a.is_list()) && integer_of(b)) return repeat(interpreter, a, *integer_of(b));
    if ((b.is_string() || b.is_list()) && integer_of(a)) return repeat(interpreter, b, *integer_of(a));
  }
  if (op == Op::kMod && a.is_string()) return Value(percent_format(a.as_string(), b));
  no_operation(op, a, b);
}

Value negate(const Value& value) {
  if (const auto integer = integer_of(value)) return integers(Op::kSub, 0, *integer);
  if (value.is_float()) return Value(-value.as_float());
  need_defined(value);
  throw Fault(fmt::format("bad operand type for unary -: '{}'", python_type(value)));
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
