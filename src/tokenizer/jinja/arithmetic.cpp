#include <cmath>
#include <limits>

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/numbers.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Value::Kind;
using Op = Expr::Op;

std::string_view symbol_of(Op op) {
  constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">="};
  return kSymbols[static_cast<int>(op)];
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

void no_operation(Op op, const Value& a, const Value& b) {
  need_defined(a);
  need_defined(b);
  if (op == Op::kAdd && a.is_string()) {
    throw Fault(fmt::format("can only concatenate str (not \"{}\") to str", python_type(b)));
  }
  throw Fault(
      fmt::format("unsupported operand types for {}: '{}' and '{}'", symbol_of(op), python_type(a), python_type(b)));
}

bool is_number(const Value& value) { return value.is_int() || value.is_float() || value.is_bool(); }

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

}  // namespace primus::tokenizer::jinja
