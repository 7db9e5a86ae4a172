#pragma once

#include <ctime>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/value.h"

/// What the interpreter and the built-ins share: arguments, run-time objects, and Python's operations on values.
namespace primus::tokenizer::jinja {

class Interpreter;

/// What goes wrong while a template runs; the interpreter adds the template's name and line.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at `index` or named `name`; nullptr when it was not given.
  const Value* find(std::size_t index, std::string_view name) const;
  /// Throws Fault naming `function` when there are more than `positional_count` or a name outside `names`.
  void check(std::string_view function, std::size_t most, std::initializer_list<std::string_view> names = {}) const;
  const Value& require(std::size_t index, std::string_view name, std::string_view function) const;
};

/// Every Object of a running template is one of these.
class RuntimeObject : public Object {
 public:
  virtual std::optional<Value> attribute(std::string_view name) const;
  /// A method of the object; nothing when it has none of that name.
  virtual std::optional<Value> call_method(Interpreter& interpreter, std::string_view name, const Arguments& arguments);
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, const Arguments& arguments);
  /// Lets go of other objects, so that rings of them are freed.
  virtual void release() {}
};

inline RuntimeObject& object_of(const Value& value) { return static_cast<RuntimeObject&>(*value.as_object()); }

/// What lazy filters (map, select, …) give: always true, has no length, can be walked once.
class Generator : public RuntimeObject {
 public:
  explicit Generator(List items) : items_(std::move(items)) {}
  std::string_view type_name() const override { return "a generator"; }
  List take() { return std::exchange(items_, {}); }
  void release() override { items_.clear(); }

 private:
  List items_;
};

class Namespace : public RuntimeObject {
 public:
  std::string_view type_name() const override { return "a namespace"; }
  std::optional<Value> attribute(std::string_view name) const override;
  void set(const std::string& name, Value value);
  void release() override { members_ = Dict(); }

 private:
  Dict members_;
};

bool truthy(const Value& value);
/// Python's str() and repr().
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
/// The text itself for a string, else str() of it, kept in `storage`.
std::string_view text_view(const Value& value, std::string& storage);
bool equal(const Value& a, const Value& b);
/// a < b, as Python orders them; Fault when they have no order.
bool less(const Value& a, const Value& b);
bool contains(const Value& container, const Value& item);
/// Fault for what has no length.
std::size_t length(const Value& value);
/// What a loop over the value walks through.
List iterate(const Value& value);
Value item(const Value& container, const Value& key, const Value& missing);
Value slice(const Value& container, const Value& start, const Value& stop, const Value& step);
Value binary(Interpreter& interpreter, Expr::Op op, const Value& a, const Value& b);
Value negate(const Value& value);
/// Python's type name: str, int, NoneType, …
std::string_view python_type(const Value& value);
/// An integer argument; booleans count as 0 and 1.
std::int64_t to_integer(const Value& value, std::string_view what);
bool is_number(const Value& value);

/// "…" % values, and "…".format(…).
std::string percent_format(const std::string& format, const Value& values);
std::string brace_format(const std::string& format, const Arguments& arguments);

/// Calls `value.name(arguments)` when the value's type has that method; nothing when it has not.
std::optional<Value> call_method(Interpreter& interpreter, const Value& value, std::string_view name,
                                 const Arguments& arguments);
bool has_method(const Value& value, std::string_view name);
/// A method of Python's type that changes the value, which the sandbox forbids.
bool is_mutator(const Value& value, std::string_view name);

/// Built-ins by index (builtins.h).
Value apply_filter(Interpreter& interpreter, int filter, const Value& value, const Arguments& arguments);
bool apply_test(Interpreter& interpreter, int test, const Value& value, const Arguments& arguments);
/// namespace, range, dict, raise_exception, strftime_now, …; undefined when there is none.
Value find_global(Interpreter& interpreter, std::string_view name);

/// Text helpers of methods and filters.
std::string strip(std::string_view text, const Value* characters, bool left, bool right);
Value replace_text(Interpreter& interpreter, std::string_view text, std::string_view from, std::string_view to,
                   std::int64_t count);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);

}  // namespace primus::tokenizer::jinja
