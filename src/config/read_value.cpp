#include "config/read_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "config/emit.h"
#include "config/nearest.h"

namespace primus::config {
namespace {

std::string_view without_plus(std::string_view text) {
  return text.size() > 1 && text[0] == '+' && text[1] != '-' ? text.substr(1) : text;
}

enum class Parsed { kYes, kNo, kTooLarge };

template <typename Number>
Parsed parse(std::string_view text, Number& value) {
  text = without_plus(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range && end == text.data() + text.size()) return Parsed::kTooLarge;
  return error == std::errc() && end == text.data() + text.size() ? Parsed::kYes : Parsed::kNo;
}

/// Decimal numbers only: from_chars would take "inf" and "nan" too.
Parsed parse_decimal(std::string_view text, double& value) {
  if (text.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return Parsed::kNo;
  return parse(text, value);
}

bool is_true(std::string_view text) { return text == "true" || text == "True" || text == "TRUE"; }
bool is_false(std::string_view text) { return text == "false" || text == "False" || text == "FALSE"; }

[[noreturn]] void refuse(const YamlNode& node, std::string_view key, std::string_view expected) {
  throw bad_input("{}: {} is {}; expected {}", node.mark.text(), key, describe(node), expected);
}

}  // namespace

bool Range::holds(double value) const {
  return (least_open ? value > least : value >= least) && (most_open ? value < most : value <= most);
}

std::string Range::text() const {
  const bool below = std::isfinite(least), above = std::isfinite(most);
  if (below && above) {
    return fmt::format(" in {}{}, {}{}", least_open ? '(' : '[', least, most, most_open ? ')' : ']');
  }
  if (below) return fmt::format(" {} {}", least_open ? ">" : "≥", least);
  if (above) return fmt::format(" {} {}", most_open ? "<" : "≤", most);
  return {};
}

std::int64_t read_integer(const YamlNode& node, std::string_view key, const Range& range) {
  std::int64_t value = 0;
  const Parsed parsed = node.kind == YamlNode::Kind::kScalar && !node.quoted ? parse(node.text, value) : Parsed::kNo;
  if (parsed != Parsed::kYes || !range.holds(static_cast<double>(value))) {
    refuse(node, key, parsed == Parsed::kTooLarge ? "an integer that fits 64 bits" : "an integer" + range.text());
  }
  return value;
}

double read_number(const YamlNode& node, std::string_view key, const Range& range) {
  double value = 0.0;
  const Parsed parsed =
      node.kind == YamlNode::Kind::kScalar && !node.quoted ? parse_decimal(node.text, value) : Parsed::kNo;
  if (parsed != Parsed::kYes || !range.holds(value)) {
    refuse(node, key, parsed == Parsed::kTooLarge ? "a number within double precision" : "a number" + range.text());
  }
  return value;
}

bool read_truth(const YamlNode& node, std::string_view key) {
  if (node.kind == YamlNode::Kind::kScalar && !node.quoted) {
    if (is_true(node.text)) return true;
    if (is_false(node.text)) return false;
  }
  refuse(node, key, "true or false");
}

std::string read_text_value(const YamlNode& node, std::string_view key) {
  if (node.kind != YamlNode::Kind::kScalar) refuse(node, key, "text");
  return node.text;
}

std::string read_folder_name(const YamlNode& node, std::string_view key) {
  std::string text = read_text_value(node, key);
  const std::filesystem::path path(text);
  const bool printable = std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  const bool inside =
      !path.empty() && path.is_relative() &&
      std::none_of(path.begin(), path.end(), [](const auto& part) { return part == "." || part == ".."; });
  if (!inside || !printable) {
    refuse(node, key, "the name of a folder, or names joined by '/', none of which is '.' or '..'");
  }
  return text;
}

std::vector<std::string> read_text_list(const YamlNode& node, std::string_view key) {
  if (node.kind == YamlNode::Kind::kScalar) return {node.text};
  if (node.kind != YamlNode::Kind::kList) refuse(node, key, "text or a list of texts");
  std::vector<std::string> texts;
  for (const YamlNode& item : node.items) {
    if (item.kind != YamlNode::Kind::kScalar) refuse(item, fmt::format("{}[{}]", key, texts.size()), "text");
    texts.push_back(item.text);
  }
  return texts;
}

std::vector<double> read_number_list(const YamlNode& node, std::string_view key, const Range& range) {
  if (node.kind == YamlNode::Kind::kScalar) return {read_number(node, key, range)};
  if (node.kind != YamlNode::Kind::kList) refuse(node, key, "a list of numbers" + range.text());
  std::vector<double> numbers;
  numbers.reserve(node.items.size());
  for (const YamlNode& item : node.items) {
    numbers.push_back(read_number(item, fmt::format("{}[{}]", key, numbers.size()), range));
  }
  return numbers;
}

std::map<std::string, std::string> read_text_map(const YamlNode& node, std::string_view key) {
  if (node.kind != YamlNode::Kind::kMap) refuse(node, key, "a map of names");
  std::map<std::string, std::string> map;
  for (const MapEntry& entry : node.entries) {
    map[entry.key] = read_text_value(entry.value, fmt::format("{}.{}", key, entry.key));
  }
  return map;
}

std::size_t read_choice(const YamlNode& node, std::string_view key, const std::vector<std::string>& names) {
  if (node.kind == YamlNode::Kind::kScalar) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (node.text == names[i]) return i;
    }
  }
  std::string expected = fmt::format("{}", fmt::join(names, ", "));
  if (names.size() > 1) expected = "one of " + expected;
  if (node.kind == YamlNode::Kind::kScalar) expected += did_you_mean(node.text, names);
  refuse(node, key, expected);
}

std::string to_json(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "null";
    case YamlNode::Kind::kScalar: {
      if (node.quoted) return emit_json_string(node.text);
      if (is_true(node.text)) return "true";
      if (is_false(node.text)) return "false";
      std::int64_t integer = 0;
      if (parse(node.text, integer) == Parsed::kYes) return fmt::format("{}", integer);
      double number = 0.0;
      if (parse_decimal(node.text, number) == Parsed::kYes) return emit_number(number);
      return emit_json_string(node.text);
    }
    case YamlNode::Kind::kList: {
      std::vector<std::string> items;
      items.reserve(node.items.size());
      for (const YamlNode& item : node.items) items.push_back(to_json(item));
      return fmt::format("[{}]", fmt::join(items, ", "));
    }
    case YamlNode::Kind::kMap: {
      std::vector<std::string> items;
      items.reserve(node.entries.size());
      for (const MapEntry& entry : node.entries) {
        items.push_back(fmt::format("{}: {}", emit_json_string(entry.key), to_json(entry.value)));
      }
      return fmt::format("{{{}}}", fmt::join(items, ", "));
    }
  }
  return {};
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing (null)";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  if (node.quoted) return "the quoted text " + emit_json_string(node.text);
  if (is_true(node.text) || is_false(node.text)) return node.text;
  double number = 0.0;
  if (parse_decimal(node.text, number) != Parsed::kNo) return node.text;
  return fmt::format("the text '{}'", node.text);
}

}  // namespace primus::config
