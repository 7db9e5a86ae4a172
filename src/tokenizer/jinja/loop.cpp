#include "tokenizer/jinja/loop.h"

#include "base/error.h"

namespace primus::tokenizer::jinja {

const Value* Arguments::find(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [known, value] : named) {
    if (known == name) return &value;
  }
  return nullptr;
}

void Arguments::check(std::string_view function, std::size_t most,
                      std::initializer_list<std::string_view> names) const {
  if (positional.size() > most) {
    throw Fault(fmt::format("{} takes at most {} arguments, not {}", function, most, positional.size()));
  }
  for (const auto& [name, value] : named) {
    bool known = false;
    for (const std::string_view candidate : names) known = known || candidate == name;
    if (!known) throw Fault(fmt::format("{} has no parameter '{}'", function, name));
  }
}

const Value& Arguments::require(std::size_t index, std::string_view name, std::string_view function) const {
  const Value* value = find(index, name);
  if (value == nullptr) throw Fault(fmt::format("{} needs the argument '{}'", function, name));
  return *value;
}

std::optional<Value> RuntimeObject::attribute(std::string_view) const { return std::nullopt; }

std::optional<Value> RuntimeObject::call_method(Interpreter&, std::string_view, const Arguments&) {
  return std::nullopt;
}

Value RuntimeObject::call(Interpreter&, const Arguments&) {
  throw Fault(fmt::format("{} is not callable", type_name()));
}

std::optional<Value> Namespace::attribute(std::string_view name) const {
  const Value* value = members_.find(name);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

void Namespace::set(const std::string& name, Value value) { members_.set(name, std::move(value)); }

std::optional<Value> Loop::attribute(std::string_view name) const {
  const auto left = items.size() - index;
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(left);
  if (name == "revindex0") return Value(left - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(left == 1);
  if (name == "length") return Value(items.size());
  if (name == "depth") return Value(depth + 1);
  if (name == "depth0") return Value(depth);
  if (name == "previtem") {
    return index > 0 ? items[index - 1] : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return left > 1 ? items[index + 1] : Value::undefined("there is no next item");
  }
  return std::nullopt;
}

std::optional<Value> Loop::call_method(Interpreter&, std::string_view name, const Arguments& arguments) {
  if (name == "cycle") {
    if (arguments.positional.empty()) throw Fault("loop.cycle needs values");
    return arguments.positional[index % arguments.positional.size()];
  }
  if (name == "changed") {
    Value now = Value::tuple(arguments.positional);
    if (last_ && equal(*last_, now)) return Value(false);
    last_ = std::move(now);
    return Value(true);
  }
  return std::nullopt;
}

Value Loop::call(Interpreter& interpreter, const Arguments& arguments) {
  if (!stmt_.recursive) throw Fault("the loop must be marked 'recursive' to be called");
  arguments.check("loop", 1);
  const Value& values = arguments.require(0, "iterable", "loop");
  Interpreter::Scope* const before = std::exchange(interpreter.scope_, scope_);
  std::string text;
  std::string* const output = std::exchange(interpreter.output_, &text);
  interpreter.run_for(stmt_, values, depth + 1);
  interpreter.output_ = output;
  interpreter.scope_ = before;
  return Value(std::move(text));
}

void Loop::release() {
  items.clear();
  last_.reset();
}

std::optional<Value> Macro::attribute(std::string_view name) const {
  if (name == "name") return Value(stmt_.target.name);
  return std::nullopt;
}

Value Macro::call(Interpreter& interpreter, const Arguments& arguments) {
  return interpreter.run_macro(*this, arguments);
}

Value BoundMethod::call(Interpreter& interpreter, const Arguments& arguments) {
  auto result = jinja::call_method(interpreter, self_, name_, arguments);
  return result ? *result : Value();
}

}  // namespace primus::tokenizer::jinja
