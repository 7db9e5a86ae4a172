#include "tokenizer/spec.h"

#include "base/error.h"

namespace primus::tokenizer::spec {
namespace {

[[noreturn]] void wrong(std::string_view key, std::string_view wanted, const Value& found, const std::string& where) {
  throw bad_input("{}: \"{}\" must be {}, found {}", where, key, wanted, found.kind_name());
}

}  // namespace

bool flag(const Value& spec, std::string_view key, bool otherwise, const std::string& where) {
  const Value* value = spec.find(key);
  if (value == nullptr || value->is_null()) return otherwise;
  if (!value->is_bool()) wrong(key, "true or false", *value, where);
  return value->as_bool();
}

std::string text(const Value& spec, std::string_view key, const std::string& where) {
  const Value* value = spec.find(key);
  if (value == nullptr) throw bad_input("{}: \"{}\" is missing", where, key);
  if (!value->is_string()) wrong(key, "a string", *value, where);
  return value->as_string();
}

std::string text_or(const Value& spec, std::string_view key, const std::string& otherwise, const std::string& where) {
  const Value* value = spec.find(key);
  return value == nullptr || value->is_null() ? otherwise : text(spec, key, where);
}

std::int64_t integer_or(const Value& spec, std::string_view key, std::int64_t otherwise, const std::string& where) {
  const Value* value = spec.find(key);
  if (value == nullptr || value->is_null()) return otherwise;
  if (!value->is_int()) wrong(key, "an integer", *value, where);
  return value->as_int();
}

const List& list(const Value& spec, std::string_view key, const std::string& where) {
  const Value* value = spec.find(key);
  if (value == nullptr) throw bad_input("{}: \"{}\" is missing", where, key);
  if (!value->is_list()) wrong(key, "a list", *value, where);
  return value->as_list();
}

std::string type(const Value& spec, const std::string& where) {
  if (!spec.is_dict()) throw bad_input("{}: expected an object with a \"type\", found {}", where, spec.kind_name());
  return text(spec, "type", where);
}

Regex pattern(const Value& spec, const std::string& where) {
  const Value* value = spec.find("pattern");
  if (value != nullptr && value->is_string()) return Regex(Regex::escape(value->as_string()), where);
  if (value != nullptr && value->is_dict()) {
    if (value->find("Regex") != nullptr) return Regex(text(*value, "Regex", where), where);
    if (value->find("String") != nullptr) return Regex(Regex::escape(text(*value, "String", where)), where);
  }
  throw bad_input("{}: \"pattern\" must be {{\"Regex\": …}} or {{\"String\": …}}", where);
}

}  // namespace primus::tokenizer::spec
