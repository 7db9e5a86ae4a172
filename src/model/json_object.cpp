#include "model/json_object.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace primus::model {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
constexpr int kMaxDepth = 64;

std::string range_text(double low, double high) {
  constexpr double kHuge = 1e15;
  if (high >= kHuge) return fmt::format("at least {:g}", low);
  return fmt::format("from {:g} to {:g}", low, high);
}

std::string shortened(std::string text) {
  constexpr std::size_t kLongest = 80;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…";
  return text;
}

}  // namespace

json parse_json_object(std::string_view text, const std::string& where) {
  if (text.size() > kMaxBytes) {
    throw bad_input("{}: {} bytes of JSON, more than the {} that are read; this is not the file that its name says",
                    where, text.size(), kMaxBytes);
  }
  try {
    const json::parser_callback_t shallow = [&](int depth, json::parse_event_t, json&) {
      if (depth > kMaxDepth) throw bad_input("{}: JSON nested deeper than {}", where, kMaxDepth);
      return true;
    };
    json value = json::parse(text.begin(), text.end(), shallow);
    if (!value.is_object()) throw bad_input("{}: holds {} where a JSON object is expected", where, value.type_name());
    return value;
  } catch (const json::parse_error& error) {
    // nlohmann's text: "[json.exception.parse_error.101] parse error at line 1, column 2: what"
    const std::string message = error.what();
    const std::size_t from = message.find("] ");
    throw bad_input("{}: not valid JSON: {}", where,
                    shortened(from == std::string::npos ? message : message.substr(from + 2)));
  }
}

JsonObject::JsonObject(const json& object, std::string where) : object_(&object), where_(std::move(where)) {
  if (!object.is_object()) throw bad_input("{}: {} where an object is expected", where_, object.type_name());
}

const json* JsonObject::find(const char* key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool JsonObject::is_null(const char* key) const {
  const auto found = object_->find(key);
  return found != object_->end() && found->is_null();
}

std::string JsonObject::show(const char* key) const {
  const auto found = object_->find(key);
  if (found == object_->end()) return "nothing";
  if (found->is_object()) return "an object";
  return shortened(found->dump(-1, ' ', false, json::error_handler_t::replace));
}

void JsonObject::refuse(const char* key, const std::string& what_would_do) const {
  throw bad_input("{}: `{}` is {}; {}", where_, key, show(key), what_would_do);
}

const json& JsonObject::require(const char* key, const char* kind) const {
  const json* value = find(key);
  if (value == nullptr) throw bad_input("{}: `{}` is missing; {} is expected", where_, key, kind);
  return *value;
}

std::int64_t JsonObject::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const json& value = require(key, "a whole number");
  const std::string expected =
      fmt::format("a whole number {} is expected", range_text(static_cast<double>(low), static_cast<double>(high)));
  if (!value.is_number_integer()) refuse(key, expected);
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
    refuse(key, expected);
  }
  const auto number = value.get<std::int64_t>();
  if (number < low || number > high) refuse(key, expected);
  return number;
}

std::int64_t JsonObject::integer(const char* key, std::int64_t fallback, std::int64_t low, std::int64_t high) const {
  return has(key) ? integer(key, low, high) : fallback;
}

double JsonObject::number(const char* key, double low, double high) const {
  const json& value = require(key, "a number");
  const std::string expected = fmt::format("a number {} is expected", range_text(low, high));
  if (!value.is_number()) refuse(key, expected);
  const double number = value.get<double>();
  if (!std::isfinite(number) || number < low || number > high) refuse(key, expected);
  return number;
}

double JsonObject::number(const char* key, double fallback, double low, double high) const {
  return has(key) ? number(key, low, high) : fallback;
}

bool JsonObject::boolean(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false is expected");
  return value->get<bool>();
}

std::string JsonObject::string(const char* key) const {
  const json& value = require(key, "a string");
  if (!value.is_string()) refuse(key, "a string is expected");
  return value.get<std::string>();
}

std::string JsonObject::string(const char* key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

std::vector<std::string> JsonObject::strings(const char* key) const {
  const json* value = find(key);
  std::vector<std::string> result;
  if (value == nullptr) return result;
  if (!value->is_array()) refuse(key, "a list of strings is expected");
  for (const json& item : *value) {
    if (!item.is_string()) refuse(key, "a list of strings is expected");
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::vector<std::int64_t> JsonObject::integers(const char* key) const {
  const json* value = find(key);
  std::vector<std::int64_t> result;
  if (value == nullptr) return result;
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& item : list) {
    const bool fits = item.is_number_integer() && (!item.is_number_unsigned() || item.get<std::uint64_t>() < INT64_MAX);
    if (!fits) refuse(key, "a whole number or a list of them is expected");
    result.push_back(item.get<std::int64_t>());
  }
  return result;
}

JsonObject JsonObject::object(const char* key) const {
  const json& value = require(key, "an object");
  if (!value.is_object()) refuse(key, "an object is expected");
  return {value, fmt::format("{}: {}", where_, key)};
}

}  // namespace primus::model
