#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/numbers.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Value::Kind;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

[[noreturn]] void undefined_fault(const Value& value) {
  throw Fault(value.undefined_name().empty() ? "the value is undefined" : value.undefined_name());
}

}  // namespace

void need_defined(const Value& value) {
  if (value.is_undefined()) undefined_fault(value);
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
  no_operation(Expr::Op::kLt, a, b);
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

}  // namespace primus::tokenizer::jinja
