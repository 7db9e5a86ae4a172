#include "tokenizer/value.h"

#include <algorithm>

#include "base/error.h"

namespace primus::tokenizer {
namespace {

constexpr std::size_t kIndexFrom = 12;  // below that a scan is faster than hashing

[[noreturn]] void wrong_kind(std::string_view wanted, const Value& found) {
  throw bad_input("expected {}, found {}", wanted, found.kind_name());
}

int checked_depth(int depth) {
  if (depth > Value::kMaxDepth) throw bad_input("lists and dicts are nested more than {} deep", Value::kMaxDepth);
  return depth;
}

}  // namespace

Value::Value(Dict members) {
  checked_depth(members.depth() + 1);
  data_ = std::make_shared<const Dict>(std::move(members));
}

Value::Value(List values) : data_(make_sequence(std::move(values))) {}

std::shared_ptr<const Value::Sequence> Value::make_sequence(List values) {
  int depth = 0;
  for (const Value& value : values) depth = std::max(depth, value.depth());
  return std::make_shared<const Sequence>(Sequence{std::move(values), checked_depth(depth + 1)});
}

int Value::depth() const {
  if (const Items* items = std::get_if<Items>(&data_)) return (*items)->depth;
  if (const Tuple* tuple = std::get_if<Tuple>(&data_)) return tuple->items->depth;
  if (const Members* members = std::get_if<Members>(&data_)) return (*members)->depth() + 1;
  return 0;
}

Value Value::tuple(List values) {
  Value value;
  value.data_ = Tuple{make_sequence(std::move(values))};
  return value;
}

Value Value::undefined(std::string name) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(name))};
  return value;
}

Value Value::big_int(std::string digits) {
  Value value;
  value.data_ = BigInt{std::make_shared<const std::string>(std::move(digits))};
  return value;
}

Value::Kind Value::kind() const {
  struct Visitor {
    Kind operator()(const Null&) const { return Kind::kNull; }
    Kind operator()(const Undefined&) const { return Kind::kUndefined; }
    Kind operator()(bool) const { return Kind::kBool; }
    Kind operator()(std::int64_t) const { return Kind::kInt; }
    Kind operator()(const BigInt&) const { return Kind::kBigInt; }
    Kind operator()(double) const { return Kind::kFloat; }
    Kind operator()(const Text&) const { return Kind::kString; }
    Kind operator()(const Items&) const { return Kind::kList; }
    Kind operator()(const Tuple&) const { return Kind::kTuple; }
    Kind operator()(const Members&) const { return Kind::kDict; }
    Kind operator()(const std::shared_ptr<Object>&) const { return Kind::kObject; }
  };
  return std::visit(Visitor{}, data_);
}

std::string_view Value::kind_name() const {
  switch (kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNull:
      return "none";
    case Kind::kBool:
      return "a boolean";
    case Kind::kInt:
    case Kind::kBigInt:
      return "an integer";
    case Kind::kFloat:
      return "a float";
    case Kind::kString:
      return "a string";
    case Kind::kList:
      return "a list";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kDict:
      return "a dict";
    case Kind::kObject:
      return as_object()->type_name();
  }
  return "a value";
}

bool Value::as_bool() const {
  if (!is_bool()) wrong_kind("a boolean", *this);
  return std::get<bool>(data_);
}

std::int64_t Value::as_int() const {
  if (!is_int()) wrong_kind("an integer", *this);
  return std::get<std::int64_t>(data_);
}

double Value::as_float() const {
  if (is_int()) return static_cast<double>(std::get<std::int64_t>(data_));
  if (!is_float()) wrong_kind("a number", *this);
  return std::get<double>(data_);
}

const std::string& Value::as_string() const {
  if (!is_string()) wrong_kind("a string", *this);
  return *std::get<Text>(data_);
}

const List& Value::as_list() const {
  if (const Items* items = std::get_if<Items>(&data_)) return (*items)->values;
  if (const Tuple* tuple = std::get_if<Tuple>(&data_)) return tuple->items->values;
  wrong_kind("a list", *this);
}

const Dict& Value::as_dict() const {
  if (!is_dict()) wrong_kind("a dict", *this);
  return *std::get<Members>(data_);
}

const std::shared_ptr<Object>& Value::as_object() const {
  PRIMUS_CHECK(is_object());
  return std::get<std::shared_ptr<Object>>(data_);
}

const std::string& Value::undefined_name() const {
  PRIMUS_CHECK(is_undefined());
  return *std::get<Undefined>(data_).name;
}

const std::string& Value::big_int_digits() const {
  PRIMUS_CHECK(kind() == Kind::kBigInt);
  return *std::get<BigInt>(data_).digits;
}

const Value* Value::find(std::string_view key) const {
  const Members* members = std::get_if<Members>(&data_);
  return members == nullptr ? nullptr : (*members)->find(key);
}

bool Value::same_object(const Value& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::kList:
    case Kind::kTuple:
      return &as_list() == &other.as_list();
    case Kind::kDict:
      return &as_dict() == &other.as_dict();
    case Kind::kObject:
      return as_object() == other.as_object();
    default:
      return false;
  }
}

Dict::Dict(std::initializer_list<Member> members) {
  for (const Member& member : members) set(member.first, member.second);
}

std::size_t Dict::index_of(std::string_view key) const {
  if (index_.empty()) {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].first == key) return i;
    }
    return members_.size();
  }
  const auto found = index_.find(std::string(key));
  return found == index_.end() ? members_.size() : found->second;
}

void Dict::set(std::string key, Value value) {
  depth_ = std::max(depth_, value.depth());
  const std::size_t at = index_of(key);
  if (at < members_.size()) {
    members_[at].second = std::move(value);
    return;
  }
  if (!index_.empty()) index_.emplace(key, at);
  members_.emplace_back(std::move(key), std::move(value));
  if (index_.empty() && members_.size() >= kIndexFrom) {
    for (std::size_t i = 0; i < members_.size(); ++i) index_.emplace(members_[i].first, i);
  }
}

const Value* Dict::find(std::string_view key) const {
  const std::size_t at = index_of(key);
  return at < members_.size() ? &members_[at].second : nullptr;
}

}  // namespace primus::tokenizer
