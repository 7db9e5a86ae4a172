#include <algorithm>

#include "base/error.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

bool flag(const Arguments& arguments, std::size_t index, std::string_view name) {
  const Value* given = arguments.find(index, name);
  return given != nullptr && truthy(*given);
}

const Value& nothing() {
  static const Value value = Value::undefined("the list is empty");
  return value;
}

Value step_into(Interpreter& interpreter, const Value& value, const Value& key) {
  static const Value missing = Value::undefined("the value has no such attribute");
  Value found = item(value, key, missing);
  if (!found.is_undefined() || !key.is_string()) return found;
  return value.is_dict() && !has_method(value, key.as_string())
             ? found
             : interpreter.attribute(value, key.as_string(), missing);
}

/// What is compared: the member at `attribute`, in lower case unless case counts.
Value sort_key(Interpreter& interpreter, const Value& value, const Value* attribute, bool case_sensitive) {
  Value key = attribute == nullptr || attribute->is_null() ? value : member_at_path(interpreter, value, *attribute);
  return key.is_string() && !case_sensitive ? Value(lower(key.as_string())) : key;
}

/// Several attributes with commas between compare one after the other.
Value sort_keys(Interpreter& interpreter, const Value& value, const Value* attribute, bool case_sensitive) {
  if (attribute == nullptr || !attribute->is_string() || attribute->as_string().find(',') == std::string::npos) {
    return sort_key(interpreter, value, attribute, case_sensitive);
  }
  List keys;
  Arguments comma;
  comma.positional.emplace_back(",");
  const Value names = *call_method(interpreter, *attribute, "split", comma);
  for (const Value& name : names.as_list()) keys.push_back(sort_key(interpreter, value, &name, case_sensitive));
  return Value(std::move(keys));
}

List sorted(Interpreter& interpreter, const List& values, const Value* attribute, bool case_sensitive, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& value : values) keyed.emplace_back(sort_keys(interpreter, value, attribute, case_sensitive), value);
  interpreter.count_steps(keyed.size() * 8);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  List out;
  for (auto& entry : keyed) out.push_back(std::move(entry.second));
  return out;
}

Value extreme(Interpreter& interpreter, const Value& value, const Arguments& arguments, bool largest) {
  arguments.check("max", 2, {"case_sensitive", "attribute"});
  const Value* attribute = arguments.find(1, "attribute");
  const bool case_sensitive = flag(arguments, 0, "case_sensitive");
  const List values = iterate(value);
  if (values.empty()) return nothing();
  const Value* best = &values[0];
  Value best_key = sort_key(interpreter, *best, attribute, case_sensitive);
  for (const Value& candidate : values) {
    Value key = sort_key(interpreter, candidate, attribute, case_sensitive);
    if (largest ? less(best_key, key) : less(key, best_key)) {
      best = &candidate;
      best_key = std::move(key);
    }
  }
  return *best;
}

Arguments rest_of(const Arguments& arguments, std::size_t from) {
  Arguments rest;
  rest.named = arguments.named;
  for (std::size_t i = from; i < arguments.positional.size(); ++i) rest.positional.push_back(arguments.positional[i]);
  return rest;
}

/// select, reject, selectattr, rejectattr: keeps what a test, named among the arguments, says.
Value pick(Interpreter& interpreter, const Value& value, const Arguments& arguments, bool wanted, bool by_attribute) {
  const std::size_t at = by_attribute ? 1 : 0;
  if (arguments.positional.size() < at) throw Fault("selectattr needs the name of an attribute");
  int test = -1;
  Arguments rest;
  if (arguments.positional.size() > at) {
    const Value& name = arguments.positional[at];
    test = name.is_string() ? find_test(name.as_string()) : -1;
    const std::string symbol = to_text(name);
    constexpr std::pair<std::string_view, std::string_view> kSymbols[] = {{"==", "eq"}, {"!=", "ne"}, {"<", "lt"},
                                                                          {"<=", "le"}, {">", "gt"},  {">=", "ge"}};
    for (const auto& [sign, word] : kSymbols) {
      if (symbol == sign) test = find_test(word);
    }
    if (test < 0) throw Fault(fmt::format("there is no test '{}'; known are: {}", symbol, test_names()));
    rest = rest_of(arguments, at + 1);
  }
  List kept;
  for (const Value& entry : iterate(value)) {
    interpreter.count_steps(1);
    const Value subject = by_attribute ? member_at_path(interpreter, entry, arguments.positional[0]) : entry;
    const bool holds = test < 0 ? truthy(subject) : apply_test(interpreter, test, subject, rest);
    if (holds == wanted) kept.push_back(entry);
  }
  return interpreter.make_object<Generator>(std::move(kept));
}

}  // namespace

Value member_at_path(Interpreter& interpreter, const Value& value, const Value& path) {
  if (!path.is_string()) return step_into(interpreter, value, path);
  Value at = value;
  const std::string& text = path.as_string();
  std::size_t begin = 0;
  while (true) {
    const std::size_t dot = text.find('.', begin);
    const std::string part = text.substr(begin, dot == std::string::npos ? dot : dot - begin);
    const bool digits = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    at = step_into(interpreter, at, digits ? Value(static_cast<std::int64_t>(std::stoll(part))) : Value(part));
    if (dot == std::string::npos) return at;
    begin = dot + 1;
  }
}

namespace list_filters {

Value attr(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("attr", 1, {"name"});
  const std::string name = to_text(arguments.require(0, "name", "attr"));
  static const Value missing = Value::undefined("the value has no such attribute");
  // Unlike value.name, the filter never looks at the members of a dict.
  if (value.is_dict() && !has_method(value, name)) return missing;
  return interpreter.attribute(value, name, missing);
}

Value items(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_undefined()) return interpreter.make_object<Generator>(List{});
  if (!value.is_dict()) throw Fault("Can only get item pairs from a mapping.");
  return interpreter.make_object<Generator>(call_method(interpreter, value, "items", {})->as_list());
}

Value list(Interpreter&, const Value& value, const Arguments&) { return Value(iterate(value)); }

Value first(Interpreter&, const Value& value, const Arguments&) {
  const List values = iterate(value);
  return values.empty() ? nothing() : values.front();
}

Value last(Interpreter&, const Value& value, const Arguments&) {
  const List values = iterate(value);
  return values.empty() ? nothing() : values.back();
}

Value reverse(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_string()) return jinja::slice(value, Value(), Value(), Value(-1));
  List values = iterate(value);
  std::reverse(values.begin(), values.end());
  return interpreter.make_object<Generator>(std::move(values));
}

Value map(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  List out;
  if (arguments.positional.empty()) {
    const Value& path = arguments.require(0, "attribute", "map");
    const Value* otherwise = arguments.find(1, "default");
    for (const Value& entry : iterate(value)) {
      Value found = member_at_path(interpreter, entry, path);
      out.push_back(found.is_undefined() && otherwise != nullptr ? *otherwise : found);
    }
  } else {
    const std::string name = to_text(arguments.positional[0]);
    const int filter = find_filter(name);
    if (filter < 0) throw Fault(fmt::format("there is no filter '{}'; known are: {}", name, filter_names()));
    const Arguments rest = rest_of(arguments, 1);
    for (const Value& entry : iterate(value)) {
      interpreter.count_steps(1);
      out.push_back(apply_filter(interpreter, filter, entry, rest));
    }
  }
  return interpreter.make_object<Generator>(std::move(out));
}

Value select(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return pick(interpreter, value, arguments, true, false);
}
Value reject(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return pick(interpreter, value, arguments, false, false);
}
Value selectattr(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return pick(interpreter, value, arguments, true, true);
}
Value rejectattr(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return pick(interpreter, value, arguments, false, true);
}

Value max(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return extreme(interpreter, value, arguments, true);
}
Value min(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return extreme(interpreter, value, arguments, false);
}

Value sort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("sort", 3, {"reverse", "case_sensitive", "attribute"});
  return Value(sorted(interpreter, iterate(value), arguments.find(2, "attribute"), flag(arguments, 1, "case_sensitive"),
                      flag(arguments, 0, "reverse")));
}

Value dictsort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("dictsort", 3, {"case_sensitive", "by", "reverse"});
  if (!value.is_dict()) throw Fault("dictsort needs a dict");
  const Value* by = arguments.find(1, "by");
  const std::string kind = by == nullptr ? "key" : to_text(*by);
  if (kind != "key" && kind != "value") throw Fault("dictsort: by must be 'key' or 'value'");
  const Value at(kind == "key" ? 0 : 1);
  return Value(sorted(interpreter, call_method(interpreter, value, "items", {})->as_list(), &at,
                      flag(arguments, 0, "case_sensitive"), flag(arguments, 2, "reverse")));
}

Value unique(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("unique", 2, {"case_sensitive", "attribute"});
  List out, keys;
  for (const Value& entry : iterate(value)) {
    Value key = sort_key(interpreter, entry, arguments.find(1, "attribute"), flag(arguments, 0, "case_sensitive"));
    interpreter.count_steps(keys.size());
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& known) { return equal(known, key); })) continue;
    keys.push_back(std::move(key));
    out.push_back(entry);
  }
  return interpreter.make_object<Generator>(std::move(out));
}

Value groupby(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("groupby", 3, {"attribute", "default", "case_sensitive"});
  const Value& attribute = arguments.require(0, "attribute", "groupby");
  const bool case_sensitive = flag(arguments, 2, "case_sensitive");
  List groups, members;
  Value current, shown;
  const auto close = [&] {
    if (!members.empty()) groups.push_back(Value::tuple({shown, Value(std::exchange(members, {}))}));
  };
  for (const Value& entry : sorted(interpreter, iterate(value), &attribute, case_sensitive, false)) {
    const Value key = sort_key(interpreter, entry, &attribute, case_sensitive);
    if (members.empty() || !equal(key, current)) {
      close();
      current = key;
      shown = member_at_path(interpreter, entry, attribute);
    }
    members.push_back(entry);
  }
  close();
  return Value(std::move(groups));
}

Value sum(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("sum", 2, {"attribute", "start"});
  const Value* attribute = arguments.find(0, "attribute");
  const Value* start = arguments.find(1, "start");
  Value total = start == nullptr ? Value(0) : *start;
  for (const Value& entry : iterate(value)) {
    const bool whole = attribute == nullptr || attribute->is_null();
    total = binary(interpreter, Expr::Op::kAdd, total, whole ? entry : member_at_path(interpreter, entry, *attribute));
  }
  return total;
}

Value batch(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("batch", 2, {"linecount", "fill_with"});
  const std::int64_t size = to_integer(arguments.require(0, "linecount", "batch"), "linecount");
  if (size < 1 || size > 1'000'000) throw Fault("batch: linecount is out of range");
  const Value* fill = arguments.find(1, "fill_with");
  List rows, row;
  for (const Value& entry : iterate(value)) {
    if (row.size() == static_cast<std::size_t>(size)) rows.emplace_back(std::exchange(row, {}));
    row.push_back(entry);
  }
  if (!row.empty()) {
    if (fill != nullptr && !fill->is_null()) row.resize(static_cast<std::size_t>(size), *fill);
    rows.emplace_back(std::move(row));
  }
  return interpreter.make_object<Generator>(std::move(rows));
}

Value slice(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.check("slice", 2, {"slices", "fill_with"});
  const std::int64_t count = to_integer(arguments.require(0, "slices", "slice"), "slices");
  if (count < 1 || count > 1'000'000) throw Fault("slice: slices is out of range");
  const Value* fill = arguments.find(1, "fill_with");
  const List values = iterate(value);
  const std::size_t columns = static_cast<std::size_t>(count);
  const std::size_t each = values.size() / columns, longer = values.size() % columns;
  List out;
  for (std::size_t i = 0, at = 0; i < columns; ++i) {
    const std::size_t size = each + (i < longer ? 1 : 0);
    List part(values.begin() + static_cast<std::ptrdiff_t>(at),
              values.begin() + static_cast<std::ptrdiff_t>(at + size));
    if (fill != nullptr && !fill->is_null() && i >= longer) part.push_back(*fill);
    out.emplace_back(std::move(part));
    at += size;
  }
  return interpreter.make_object<Generator>(std::move(out));
}

}  // namespace list_filters

}  // namespace primus::tokenizer::jinja
