#include <algorithm>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/loop.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Expr::Kind;

const Value& missing_item() {
  static const Value value = Value::undefined("the value has no such item");
  return value;
}

}  // namespace

Value Interpreter::eval(const Expr& expr) {
  const Level level(*this);
  const auto operand = [&](std::size_t i) { return eval(*expr.items[i]); };
  switch (expr.kind) {
    case Kind::kConstant:
      return expr.constant;
    case Kind::kName:
      return lookup(expr);
    case Kind::kList:
    case Kind::kTuple: {
      List values;
      for (const ExprPtr& value : expr.items) values.push_back(eval(*value));
      return expr.kind == Kind::kList ? Value(std::move(values)) : Value::tuple(std::move(values));
    }
    case Kind::kDict:
      return eval_dict(expr);
    case Kind::kAttribute:
      return attribute(operand(0), expr.name, expr.constant);
    case Kind::kItem: {
      const Value container = operand(0);
      const Value key = operand(1);
      Value found = item(container, key, missing_item());
      if (found.is_undefined() && key.is_string() && !container.is_undefined()) {
        if (container.is_dict() && container.find(key.as_string()) != nullptr) return found;
        const std::string& name = key.as_string();
        if (container.is_object() || has_method(container, name)) return attribute(container, name, missing_item());
      }
      return found;
    }
    case Kind::kSlice: {
      const Value container = operand(0);
      const auto bound = [&](std::size_t i) { return expr.items[i] ? eval(*expr.items[i]) : Value(); };
      const Value start = bound(1), stop = bound(2), step = bound(3);
      if (container.is_list()) count_steps(container.as_list().size());
      return slice(container, start, stop, step);
    }
    case Kind::kCall:
      return eval_call(expr);
    case Kind::kFilter: {
      const Value value = operand(0);
      const Arguments arguments = eval_arguments(expr);
      line_ = expr.line;
      return apply_filter(*this, expr.function, value, arguments);
    }
    case Kind::kTest: {
      const Value value = operand(0);
      const Arguments arguments = eval_arguments(expr);
      return Value(apply_test(*this, expr.function, value, arguments));
    }
    case Kind::kNot:
      return Value(!truthy(operand(0)));
    case Kind::kNegate:
      return negate(operand(0));
    case Kind::kPositive:
      return negate(negate(operand(0)));
    case Kind::kAnd: {
      Value left = operand(0);
      return truthy(left) ? operand(1) : left;
    }
    case Kind::kOr: {
      Value left = operand(0);
      return truthy(left) ? left : operand(1);
    }
    case Kind::kBinary: {
      const Value left = operand(0);
      const Value right = operand(1);
      line_ = expr.line;
      return binary(*this, expr.op, left, right);
    }
    case Kind::kCompare:
      return eval_compare(expr);
    case Kind::kConcat: {
      std::string text, storage;
      for (const ExprPtr& part : expr.items) {
        const Value value = eval(*part);
        const std::string_view piece = text_view(value, storage);
        check_size(text.size() + piece.size(), 1);
        text += piece;
      }
      return Value(std::move(text));
    }
    case Kind::kCondition:
      if (truthy(operand(1))) return operand(0);
      return expr.items[2] ? operand(2)
                           : Value::undefined("the inline if-expression evaluated to false and has no else");
  }
  return Value();
}

Value Interpreter::eval_dict(const Expr& expr) {
  Dict members;
  for (std::size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    const Value key = eval(*expr.items[i]);
    if (!key.is_string()) throw Fault(fmt::format("the keys of a dict must be strings here, not {}", python_type(key)));
    members.set(key.as_string(), eval(*expr.items[i + 1]));
  }
  return Value(std::move(members));
}

bool Interpreter::compare(Expr::Op op, const Value& a, const Value& b) {
  switch (op) {
    case Expr::Op::kEq:
      return equal(a, b);
    case Expr::Op::kNe:
      return !equal(a, b);
    case Expr::Op::kLt:
      return less(a, b);
    case Expr::Op::kLe:
      return !less(b, a);
    case Expr::Op::kGt:
      return less(b, a);
    case Expr::Op::kGe:
      return !less(a, b);
    case Expr::Op::kIn:
    case Expr::Op::kNotIn:
      if (b.is_list()) count_steps(b.as_list().size());
      return contains(b, a) == (op == Expr::Op::kIn);
    default:
      PRIMUS_CHECK(false, static_cast<int>(op));
      return false;
  }
}

Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.items[0]);
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.items[i + 1]);
    line_ = expr.line;
    if (!compare(expr.ops[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Arguments Interpreter::eval_arguments(const Expr& expr) {
  Arguments arguments;
  for (std::size_t i = 1; i < expr.items.size(); ++i) arguments.positional.push_back(eval(*expr.items[i]));
  for (const Keyword& keyword : expr.keywords) arguments.named.emplace_back(keyword.name, eval(*keyword.value));
  return arguments;
}

Value Interpreter::eval_call(const Expr& expr) {
  const Expr& callee = *expr.items[0];
  if (callee.kind != Kind::kAttribute) {
    const Value function = eval(callee);
    const Arguments arguments = eval_arguments(expr);
    line_ = expr.line;
    return call(function, arguments);
  }
  const Value self = eval(*callee.items[0]);
  const Arguments arguments = eval_arguments(expr);
  line_ = expr.line;
  if (self.is_undefined()) throw Fault(self.undefined_name());
  if (self.is_object()) {
    if (auto result = object_of(self).call_method(*this, callee.name, arguments)) return *result;
  } else if (auto result = call_method(*this, self, callee.name, arguments)) {
    return *result;
  }
  const Value function = attribute(self, callee.name, callee.constant);
  if (function.is_undefined()) {
    if (is_mutator(self, callee.name)) {
      throw Fault(fmt::format("'{}' would change a value, which chat templates may not", callee.name));
    }
    throw Fault(fmt::format("{} has no method '{}'", self.kind_name(), callee.name));
  }
  return call(function, arguments);
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) throw Fault(callee.undefined_name());
  if (!callee.is_object() || !object_of(callee).callable()) {
    throw Fault(fmt::format("'{}' object is not callable", python_type(callee)));
  }
  const Level level(*this);
  return object_of(callee).call(*this, arguments);
}

Value Interpreter::attribute(const Value& value, std::string_view name, const Value& missing) {
  if (value.is_undefined()) throw Fault(value.undefined_name());
  if (value.is_object()) {
    auto found = object_of(value).attribute(name);
    return found ? *found : missing;
  }
  if (has_method(value, name)) return make_object<BoundMethod>(value, std::string(name));
  if (is_mutator(value, name)) return missing;
  const Value* member = value.find(name);
  return member == nullptr ? missing : *member;
}

}  // namespace primus::tokenizer::jinja
