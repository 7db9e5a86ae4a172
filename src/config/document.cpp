#include "config/document.h"

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace primus::config {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 4 << 20;

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string variable_value(std::string_view inside, const Environment& environment, const std::string& where) {
  const std::size_t colon = inside.find(':');
  const std::string name(inside.substr(0, colon));
  if (!is_variable_name(name)) {
    throw bad_input("{}: '${{{}}}' does not name an environment variable; write ${{NAME}} or ${{NAME:default}}", where,
                    inside);
  }
  if (auto value = environment(name)) return *value;
  if (colon == std::string_view::npos) {
    throw bad_input("{}: the environment variable {} is not set; set it, or write ${{{}:default}}", where, name, name);
  }
  return std::string(inside.substr(colon + 1));
}

/// Whether the text is one `${…}` and nothing else.
bool is_single_variable(std::string_view text) { return text.starts_with("${") && text.find('}') == text.size() - 1; }

std::string chain_text(const std::vector<std::filesystem::path>& chain) {
  std::string text;
  for (const auto& file : chain) text += file.string() + " -> ";
  return text;
}

std::vector<std::pair<std::string, Mark>> take_extends(YamlNode& document) {
  std::vector<std::pair<std::string, Mark>> files;
  const auto entry = std::find_if(document.entries.begin(), document.entries.end(),
                                  [](const MapEntry& candidate) { return candidate.key == "extends"; });
  if (entry == document.entries.end()) return files;
  const auto add = [&](const YamlNode& node) {
    if (node.kind != YamlNode::Kind::kScalar) {
      throw bad_input("{}: extends takes a file or a list of files", node.mark.text());
    }
    files.emplace_back(node.text, node.mark);
  };
  if (entry->value.kind == YamlNode::Kind::kList) {
    for (const YamlNode& item : entry->value.items) add(item);
  } else if (entry->value.kind != YamlNode::Kind::kNull) {
    add(entry->value);
  }
  document.entries.erase(entry);
  return files;
}

YamlNode read_chain(const std::filesystem::path& path, const Environment& environment,
                    std::vector<std::filesystem::path>& chain) {
  std::error_code failure;
  if (const auto size = std::filesystem::file_size(path, failure); !failure && size > kMaxFileBytes) {
    throw bad_input("{}: {} bytes is too large for a configuration", path.string(), size);
  }
  YamlNode document = parse_yaml(read_text(path), path.string());
  if (document.kind == YamlNode::Kind::kNull) document.kind = YamlNode::Kind::kMap;
  if (document.kind != YamlNode::Kind::kMap) {
    throw bad_input("{}: a configuration is a map of keys and values", document.mark.text());
  }
  substitute_all(document, environment);

  const auto identity = std::filesystem::weakly_canonical(path);
  chain.push_back(identity);
  YamlNode merged;
  merged.kind = YamlNode::Kind::kMap;
  merged.mark = document.mark;
  for (const auto& [name, mark] : take_extends(document)) {
    const std::filesystem::path base = (path.parent_path() / name).lexically_normal();
    if (!std::filesystem::is_regular_file(base, failure)) {
      throw bad_input("{}: extends names '{}', and there is no file {}", mark.text(), name, base.string());
    }
    const auto base_identity = std::filesystem::weakly_canonical(base);
    if (std::find(chain.begin(), chain.end(), base_identity) != chain.end()) {
      throw bad_input("{}: extends goes round in a circle: {}{}", mark.text(), chain_text(chain),
                      base_identity.string());
    }
    merge_over(merged, read_chain(base, environment, chain));
  }
  chain.pop_back();
  merge_over(merged, std::move(document));
  return merged;
}

}  // namespace

std::string substitute(std::string_view text, const Environment& environment, const std::string& where) {
  std::string result;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text.substr(at).starts_with("$${")) {
      result += "${";
      at += 3;
    } else if (text.substr(at).starts_with("${")) {
      const std::size_t end = text.find('}', at);
      if (end == std::string_view::npos) {
        throw bad_input("{}: '{}' has no closing brace; write $${{ for the characters themselves", where,
                        text.substr(at));
      }
      result += variable_value(text.substr(at + 2, end - at - 2), environment, where);
      at = end + 1;
    } else {
      result += text[at++];
    }
  }
  return result;
}

void substitute_all(YamlNode& node, const Environment& environment) {
  for (YamlNode& item : node.items) substitute_all(item, environment);
  for (MapEntry& entry : node.entries) substitute_all(entry.value, environment);
  if (node.kind != YamlNode::Kind::kScalar || node.text.find("${") == std::string::npos) return;
  if (is_single_variable(node.text)) node.quoted = false;
  node.text = substitute(node.text, environment, node.mark.text());
  if (!node.quoted && is_null_text(node.text)) {
    node.kind = YamlNode::Kind::kNull;
    node.text.clear();
  }
}

void merge_over(YamlNode& lower, YamlNode upper) {
  if (lower.kind != YamlNode::Kind::kMap || upper.kind != YamlNode::Kind::kMap) {
    lower = std::move(upper);
    return;
  }
  lower.mark = upper.mark;
  for (MapEntry& entry : upper.entries) {
    const auto found = std::find_if(lower.entries.begin(), lower.entries.end(),
                                    [&](const MapEntry& candidate) { return candidate.key == entry.key; });
    if (found == lower.entries.end()) {
      lower.entries.push_back(std::move(entry));
    } else {
      found->mark = std::move(entry.mark);
      merge_over(found->value, std::move(entry.value));
    }
  }
}

YamlNode read_document(const std::filesystem::path& path, const Environment& environment) {
  std::vector<std::filesystem::path> chain;
  return read_chain(path, environment, chain);
}

}  // namespace primus::config
