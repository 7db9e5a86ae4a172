#include <algorithm>
#include <array>

#include "base/error.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/runtime.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer::jinja {
namespace {

using Test = bool (*)(Interpreter&, const Value&, const Arguments&);

const Value& other(const Arguments& arguments) { return arguments.require(0, "other", "the test"); }

bool is_equal(Interpreter&, const Value& value, const Arguments& arguments) { return equal(value, other(arguments)); }
bool is_less(Interpreter&, const Value& value, const Arguments& arguments) { return less(value, other(arguments)); }
bool is_greater(Interpreter&, const Value& value, const Arguments& arguments) { return less(other(arguments), value); }

bool is_integer(const Value& value) { return value.is_int() || value.kind() == Value::Kind::kBigInt; }

bool is_remainder(const Value& value, std::int64_t divisor, std::int64_t remainder) {
  if (divisor == 0) throw Fault("division by zero");
  const std::int64_t number = to_integer(value, "the value of the test");
  return divisor == -1 ? remainder == 0 : ((number % divisor) + divisor) % divisor == remainder;
}

bool all_cased(const Value& value, bool (*wanted)(char32_t), bool (*other_case)(char32_t)) {
  const std::string text = to_text(value);
  bool cased = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = unicode::next(text, at);
    if (other_case(c)) return false;
    cased = cased || wanted(c);
  }
  return cased;
}

bool has_length(const Value& value) {
  return value.is_string() || value.is_list() || value.is_dict() || value.is_undefined();
}

struct Named {
  std::string_view name;
  Test test;
};

constexpr auto kNotLess = [](Interpreter& i, const Value& v, const Arguments& a) { return !is_less(i, v, a); };
constexpr auto kNotGreater = [](Interpreter& i, const Value& v, const Arguments& a) { return !is_greater(i, v, a); };
constexpr auto kNotEqual = [](Interpreter& i, const Value& v, const Arguments& a) { return !is_equal(i, v, a); };

bool is_same(Interpreter&, const Value& value, const Arguments& arguments) {
  const Value& wanted = other(arguments);
  if (value.is_bool() || value.is_null() || value.is_int() || value.is_string()) {
    return value.kind() == wanted.kind() && equal(value, wanted);
  }
  return value.same_object(wanted);
}

const auto kTests = std::to_array<Named>({
    {"boolean", [](Interpreter&, const Value& v, const Arguments&) { return v.is_bool(); }},
    {"callable", [](Interpreter&, const Value& v, const Arguments&) { return v.is_object() && object_of(v).callable(); }},
    {"defined", [](Interpreter&, const Value& v, const Arguments&) { return !v.is_undefined(); }},
    {"divisibleby",
     [](Interpreter&, const Value& v, const Arguments& a) {
       return is_remainder(v, to_integer(a.require(0, "num", "divisibleby"), "num"), 0);
     }},
    {"eq", is_equal},
    {"equalto", is_equal},
    {"even", [](Interpreter&, const Value& v, const Arguments&) { return is_remainder(v, 2, 0); }},
    {"false", [](Interpreter&, const Value& v, const Arguments&) { return v.is_bool() && !v.as_bool(); }},
    {"filter",
     [](Interpreter&, const Value& v, const Arguments&) { return v.is_string() && find_filter(v.as_string()) >= 0; }},
    {"float", [](Interpreter&, const Value& v, const Arguments&) { return v.is_float(); }},
    {"ge", kNotLess},
    {"greaterthan", is_greater},
    {"gt", is_greater},
    {"in", [](Interpreter&, const Value& v, const Arguments& a) { return contains(other(a), v); }},
    {"integer", [](Interpreter&, const Value& v, const Arguments&) { return is_integer(v); }},
    {"iterable",
     [](Interpreter&, const Value& v, const Arguments&) {
       return has_length(v) || (v.is_object() && dynamic_cast<Generator*>(v.as_object().get()) != nullptr);
     }},
    {"le", kNotGreater},
    {"lessthan", is_less},
    {"lower",
     [](Interpreter&, const Value& v, const Arguments&) { return all_cased(v, unicode::is_lower, unicode::is_upper); }},
    {"lt", is_less},
    {"mapping", [](Interpreter&, const Value& v, const Arguments&) { return v.is_dict(); }},
    {"ne", kNotEqual},
    {"none", [](Interpreter&, const Value& v, const Arguments&) { return v.is_null(); }},
    {"number",
     [](Interpreter&, const Value& v, const Arguments&) { return is_number(v) || v.kind() == Value::Kind::kBigInt; }},
    {"odd", [](Interpreter&, const Value& v, const Arguments&) { return is_remainder(v, 2, 1); }},
    {"sameas", is_same},
    {"sequence", [](Interpreter&, const Value& v, const Arguments&) { return has_length(v); }},
    {"string", [](Interpreter&, const Value& v, const Arguments&) { return v.is_string(); }},
    {"test",
     [](Interpreter&, const Value& v, const Arguments&) { return v.is_string() && find_test(v.as_string()) >= 0; }},
    {"true", [](Interpreter&, const Value& v, const Arguments&) { return v.is_bool() && v.as_bool(); }},
    {"undefined", [](Interpreter&, const Value& v, const Arguments&) { return v.is_undefined(); }},
    {"upper",
     [](Interpreter&, const Value& v, const Arguments&) { return all_cased(v, unicode::is_upper, unicode::is_lower); }},
});

}  // namespace

int find_test(std::string_view name) {
  const auto found = std::find_if(kTests.begin(), kTests.end(), [&](const Named& test) { return test.name == name; });
  return found == kTests.end() ? -1 : static_cast<int>(found - kTests.begin());
}

std::string test_names() {
  std::string names;
  for (const Named& test : kTests) names.append(names.empty() ? "" : ", ").append(test.name);
  return names;
}

bool apply_test(Interpreter& interpreter, int test, const Value& value, const Arguments& arguments) {
  return kTests[static_cast<std::size_t>(test)].test(interpreter, value, arguments);
}

}  // namespace primus::tokenizer::jinja
