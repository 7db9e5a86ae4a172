#include "tokenizer/jinja/methods.h"

#include <algorithm>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"

namespace primus::tokenizer::jinja {
namespace {

Value list_count(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("count", 1);
  const Value& wanted = arguments.require(0, "value", "count");
  return Value(static_cast<std::int64_t>(std::count_if(self.as_list().begin(), self.as_list().end(),
                                                       [&](const Value& value) { return equal(value, wanted); })));
}

Value list_index(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("index", 1);
  const Value& wanted = arguments.require(0, "value", "index");
  for (std::size_t i = 0; i < self.as_list().size(); ++i) {
    if (equal(self.as_list()[i], wanted)) return Value(i);
  }
  throw Fault(fmt::format("{} is not in the list", to_repr(wanted)));
}

Value dict_items(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("items", 0);
  List items;
  for (const auto& [key, value] : self.as_dict()) items.push_back(Value::tuple({Value(key), value}));
  return Value(std::move(items));
}

Value dict_values(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("values", 0);
  List values;
  for (const auto& member : self.as_dict()) values.push_back(member.second);
  return Value(std::move(values));
}

Value dict_get(Interpreter&, const Value& self, const Arguments& arguments) {
  arguments.check("get", 2);
  const Value& key = arguments.require(0, "key", "get");
  const Value* found = key.is_string() ? self.find(key.as_string()) : nullptr;
  if (found != nullptr) return *found;
  return arguments.positional.size() > 1 ? arguments.positional[1] : Value();
}

Value itself(Interpreter&, const Value& self, const Arguments&) { return self; }

const std::map<std::string_view, Method>& dict_methods() {
  static const std::map<std::string_view, Method> methods = {
      {"copy", itself},
      {"get", dict_get},
      {"items", dict_items},
      {"keys", [](Interpreter&, const Value& self, const Arguments&) { return Value(iterate(self)); }},
      {"values", dict_values},
  };
  return methods;
}

const std::map<std::string_view, Method>& list_methods() {
  static const std::map<std::string_view, Method> methods = {
      {"copy", itself}, {"count", list_count}, {"index", list_index}};
  return methods;
}

Method method_of(const Value& value, std::string_view name) {
  const auto find = [&](const std::map<std::string_view, Method>& methods) -> Method {
    const auto found = methods.find(name);
    return found == methods.end() ? nullptr : found->second;
  };
  if (value.is_string()) return find(string_methods());
  if (value.is_dict()) return find(dict_methods());
  if (value.is_list()) return find(list_methods());
  return nullptr;
}

}  // namespace

std::optional<Value> call_method(Interpreter& interpreter, const Value& value, std::string_view name,
                                 const Arguments& arguments) {
  const Method method = method_of(value, name);
  if (method == nullptr) return std::nullopt;
  return method(interpreter, value, arguments);
}

bool has_method(const Value& value, std::string_view name) { return method_of(value, name) != nullptr; }

bool is_mutator(const Value& value, std::string_view name) {
  const auto one_of = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (value.is_dict()) return one_of({"clear", "pop", "popitem", "setdefault", "update"});
  if (value.kind() == Value::Kind::kList) {
    return one_of({"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"});
  }
  return false;
}

}  // namespace primus::tokenizer::jinja
