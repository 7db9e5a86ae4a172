#pragma once

#include <cstdint>
#include <optional>

#include "tokenizer/jinja/runtime.h"

namespace primus::tokenizer::jinja {

/// Throws Fault when the value is undefined.
void need_defined(const Value& value);
/// Throws Fault: the operands have no such operation.
[[noreturn]] void no_operation(Expr::Op op, const Value& a, const Value& b);

/// Integers and booleans as integers.
inline std::optional<std::int64_t> integer_of(const Value& value) {
  if (value.is_int()) return value.as_int();
  if (value.is_bool()) return value.as_bool() ? 1 : 0;
  return std::nullopt;
}

/// Of a number.
inline double float_of(const Value& value) { return value.is_bool() ? (value.as_bool() ? 1 : 0) : value.as_float(); }

}  // namespace primus::tokenizer::jinja
