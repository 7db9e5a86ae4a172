#include "config/emit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/yaml_tree.h"

namespace primus::config {
namespace {

bool is_plain(std::string_view text) {
  if (is_null_text(text)) return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const auto inner = [&](char c) { return letter(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == '+'; };
  const bool starts_well =
      letter(text[0]) || text[0] == '/' || text[0] == '_' || text.starts_with("./") || text.starts_with("../");
  return starts_well && std::all_of(text.begin(), text.end(), inner);
}

std::string escape_variables(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text.substr(at).starts_with("${")) result += '$';
    result += text[at];
  }
  return result;
}

}  // namespace

std::string emit_number(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string emit_json_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        result += "\\\"";
        break;
      case '\\':
        result += "\\\\";
        break;
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          result += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          result += c;
        }
    }
  }
  return result + '"';
}

std::string emit_text(std::string_view text) {
  return is_plain(text) ? std::string(text) : emit_json_string(escape_variables(text));
}

std::string emit_text_list(const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  items.reserve(texts.size());
  for (const std::string& text : texts) items.push_back(emit_text(text));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string emit_number_list(const std::vector<double>& numbers) {
  std::vector<std::string> items;
  items.reserve(numbers.size());
  for (const double number : numbers) items.push_back(emit_number(number));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string emit_text_map(const std::map<std::string, std::string>& map) {
  std::vector<std::string> items;
  items.reserve(map.size());
  for (const auto& [key, value] : map) items.push_back(fmt::format("{}: {}", emit_text(key), emit_text(value)));
  return fmt::format("{{{}}}", fmt::join(items, ", "));
}

}  // namespace primus::config
