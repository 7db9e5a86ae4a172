#include <functional>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/runtime.h"

namespace primus::tokenizer::jinja {
namespace {

class Function : public RuntimeObject {
 public:
  using Body = Value (*)(Interpreter&, const Arguments&);
  explicit Function(Body body) : body_(body) {}
  std::string_view type_name() const override { return "a function"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) override { return body_(interpreter, arguments); }

 private:
  Body body_;
};

/// joiner(", "): nothing the first time, the separator after that.
class Joiner : public RuntimeObject {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string_view type_name() const override { return "a joiner"; }
  bool callable() const override { return true; }
  Value call(Interpreter&, const Arguments&) override {
    if (used_) return separator_;
    used_ = true;
    return Value("");
  }
  void release() override { separator_ = Value(); }

 private:
  Value separator_;
  bool used_ = false;
};

class Cycler : public RuntimeObject {
 public:
  explicit Cycler(List values) : values_(std::move(values)) {}
  std::string_view type_name() const override { return "a cycler"; }
  std::optional<Value> attribute(std::string_view name) const override {
    return name == "current" ? std::optional(values_[at_]) : std::nullopt;
  }
  std::optional<Value> call_method(Interpreter&, std::string_view name, const Arguments&) override {
    if (name == "reset") {
      at_ = 0;
      return Value();
    }
    if (name != "next") return std::nullopt;
    Value value = values_[at_];
    at_ = (at_ + 1) % values_.size();
    return value;
  }
  void release() override { values_.clear(); }

 private:
  List values_;
  std::size_t at_ = 0;
};

Value make_range(Interpreter& interpreter, const Arguments& arguments) {
  constexpr std::int64_t kMaxRange = 100'000;  // the sandbox's
  arguments.check("range", 3);
  if (arguments.positional.empty()) throw Fault("range needs an argument");
  const auto bound = [&](std::size_t i) { return to_integer(arguments.positional[i], "an argument of range"); };
  const bool one = arguments.positional.size() == 1;
  const std::int64_t start = one ? 0 : bound(0), stop = one ? bound(0) : bound(1);
  const std::int64_t step = arguments.positional.size() > 2 ? bound(2) : 1;
  if (step == 0) throw Fault("range() arg 3 must not be zero");
  List values;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(values.size()) >= kMaxRange) {
      throw Fault(fmt::format("a range of more than {} numbers", kMaxRange));
    }
    values.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  interpreter.count_steps(values.size());
  return Value(std::move(values));
}

Dict members_of(const Arguments& arguments, std::string_view function) {
  Dict members;
  if (arguments.positional.size() > 1) throw Fault(fmt::format("{} takes at most one argument", function));
  if (!arguments.positional.empty()) {
    const Value& first = arguments.positional[0];
    if (first.is_dict()) {
      members = first.as_dict();
    } else {
      for (const Value& pair : iterate(first)) {
        const List parts = iterate(pair);
        if (parts.size() != 2 || !parts[0].is_string())
          throw Fault(fmt::format("{} needs pairs of a name and a value", function));
        members.set(parts[0].as_string(), parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) members.set(name, value);
  return members;
}

Value make_namespace(Interpreter& interpreter, const Arguments& arguments) {
  Value made = interpreter.make_object<Namespace>();
  for (const auto& [name, value] : members_of(arguments, "namespace")) {
    if (name.starts_with('_')) throw Fault("a namespace holds no names that begin with '_'");
    static_cast<Namespace&>(object_of(made)).set(name, value);
  }
  return made;
}

Value raise_exception(Interpreter&, const Arguments& arguments) {
  throw Fault("the template refuses this chat: " + to_text(arguments.require(0, "message", "raise_exception")));
}

Value strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  const Value& format = arguments.require(0, "format", "strftime_now");
  if (!format.is_string() || format.as_string().size() > 1000) throw Fault("strftime_now needs a short format string");
  const std::time_t now = interpreter.now();
  std::tm local{};
  localtime_r(&now, &local);
  std::string text(4096, '\0');
  const std::size_t size = std::strftime(text.data(), text.size(), format.as_string().c_str(), &local);
  if (size == 0 && !format.as_string().empty()) return Value("");
  text.resize(size);
  return Value(std::move(text));
}

}  // namespace

Value find_global(Interpreter& interpreter, std::string_view name) {
  Function::Body body = nullptr;
  if (name == "namespace") {
    body = make_namespace;
  } else if (name == "range") {
    body = make_range;
  } else if (name == "dict") {
    body = [](Interpreter&, const Arguments& arguments) { return Value(members_of(arguments, "dict")); };
  } else if (name == "raise_exception") {
    body = raise_exception;
  } else if (name == "strftime_now") {
    body = strftime_now;
  } else if (name == "joiner") {
    body = [](Interpreter& i, const Arguments& arguments) {
      const Value* separator = arguments.find(0, "sep");
      return i.make_object<Joiner>(separator == nullptr ? Value(", ") : *separator);
    };
  } else if (name == "cycler") {
    body = [](Interpreter& i, const Arguments& arguments) {
      if (arguments.positional.empty()) throw Fault("cycler needs values");
      return i.make_object<Cycler>(arguments.positional);
    };
  }
  return body == nullptr ? Value::undefined() : interpreter.make_object<Function>(body);
}

}  // namespace primus::tokenizer::jinja
