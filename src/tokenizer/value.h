#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace primus::tokenizer {

class Dict;
class Value;
using List = std::vector<Value>;

/// What only a running template makes: macros, methods, namespaces, the loop variable. Never comes out of JSON.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
};

/// A value as chat templates know it: what JSON holds, with Python's distinctions (int and float, list and tuple, none
/// and undefined). Immutable and shared: copying costs a reference count. Texts are UTF-8.
class Value {
 public:
  static constexpr int kMaxDepth = 500;
  enum class Kind { kUndefined, kNull, kBool, kInt, kBigInt, kFloat, kString, kList, kTuple, kDict, kObject };

  Value() : data_(Null{}) {}
  Value(std::nullptr_t) : data_(Null{}) {}
  Value(bool value) : data_(value) {}
  Value(int value) : data_(static_cast<std::int64_t>(value)) {}
  Value(std::int64_t value) : data_(value) {}
  Value(std::size_t value) : data_(static_cast<std::int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  /// Lists and dicts nest at most kMaxDepth deep: more is an Error.
  Value(List values);
  Value(Dict members);
  Value(std::shared_ptr<Object> object) : data_(std::move(object)) {}
  static Value tuple(List values);
  /// A name that nothing defines; `name` is for messages.
  static Value undefined(std::string name = "");
  /// An integer beyond 64 bits, kept as its decimal digits.
  static Value big_int(std::string digits);

  Kind kind() const;
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_null() const { return std::holds_alternative<Null>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<Text>(data_); }
  /// A list or a tuple.
  bool is_list() const { return std::holds_alternative<Items>(data_) || std::holds_alternative<Tuple>(data_); }
  bool is_dict() const { return std::holds_alternative<Members>(data_); }
  bool is_object() const { return std::holds_alternative<std::shared_ptr<Object>>(data_); }

  /// Each throws Error naming the kind that was found when it is another one.
  bool as_bool() const;
  std::int64_t as_int() const;
  double as_float() const;  // ints too
  const std::string& as_string() const;
  const List& as_list() const;
  const Dict& as_dict() const;
  const std::shared_ptr<Object>& as_object() const;
  const std::string& undefined_name() const;
  const std::string& big_int_digits() const;

  /// The member `key` of a dict, or nullptr (also when this is no dict).
  const Value* find(std::string_view key) const;
  /// True when both are the same shared list, dict or object (Python's `is`).
  bool same_object(const Value& other) const;
  /// 0 for what holds no other values.
  int depth() const;
  /// "string", "list", "none", …: for messages.
  std::string_view kind_name() const;

 private:
  struct Null {};
  struct Undefined {
    std::shared_ptr<const std::string> name;
  };
  struct BigInt {
    std::shared_ptr<const std::string> digits;
  };
  using Text = std::shared_ptr<const std::string>;
  struct Sequence {
    List values;
    int depth;
  };
  static std::shared_ptr<const Sequence> make_sequence(List values);
  using Items = std::shared_ptr<const Sequence>;
  struct Tuple {
    Items items;
  };
  using Members = std::shared_ptr<const Dict>;

  std::variant<Null, Undefined, bool, std::int64_t, BigInt, double, Text, Items, Tuple, Members,
               std::shared_ptr<Object>>
      data_;
};

/// Members in the order in which their keys first came, as in Python; setting a key again keeps its place.
class Dict {
 public:
  using Member = std::pair<std::string, Value>;

  Dict() = default;
  Dict(std::initializer_list<Member> members);

  void set(std::string key, Value value);
  const Value* find(std::string_view key) const;
  std::size_t size() const { return members_.size(); }
  bool empty() const { return members_.empty(); }
  /// Of the deepest value that was ever set.
  int depth() const { return depth_; }
  std::vector<Member>::const_iterator begin() const { return members_.begin(); }
  std::vector<Member>::const_iterator end() const { return members_.end(); }

 private:
  std::size_t index_of(std::string_view key) const;

  std::vector<Member> members_;
  int depth_ = 0;
  std::unordered_map<std::string, std::size_t> index_;  // filled once there are many members
};

/// Reads one JSON text as Python's json module does: NaN and Infinity are numbers, integers may be of any size, the
/// last of doubled keys wins. Throws Error with line, column and what was expected; `name` (a file, "row 17") leads the
/// message. Refused: nesting deeper than 200, invalid UTF-8, half of a surrogate pair.
Value parse_json(std::string_view text, std::string_view name = "JSON");

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  int indent = -1;                    // spaces a level; -1: one line
  std::string indent_text;            // instead of spaces, when not empty
  std::string item_separator = ", ";  // Python's: "," when there is an indent
  std::string key_separator = ": ";
};

/// Writes what Python's json.dumps writes. Throws Error on a value that JSON lacks (undefined, a macro).
std::string to_json(const Value& value, const JsonStyle& style = {});

}  // namespace primus::tokenizer
