#include "config/overrides.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "config/nearest.h"

namespace primus::config {
namespace {

constexpr Place kPlaces[] = {Place::kSettings, Place::kModule, Place::kRun};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

void place_at(YamlNode& node, const Mark& mark) {
  node.mark = mark;
  for (YamlNode& item : node.items) place_at(item, mark);
  for (MapEntry& entry : node.entries) {
    entry.mark = mark;
    place_at(entry.value, mark);
  }
}

YamlNode scalar(std::string_view text, const Mark& mark) {
  YamlNode node;
  node.mark = mark;
  if (is_null_text(text)) return node;
  node.kind = YamlNode::Kind::kScalar;
  node.text = text;
  return node;
}

YamlNode comma_list(std::string_view text, const Mark& mark) {
  YamlNode list;
  list.kind = YamlNode::Kind::kList;
  list.mark = mark;
  while (true) {
    const std::size_t comma = text.find(',');
    list.items.push_back(scalar(trimmed(text.substr(0, comma)), mark));
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

YamlNode read_node(Kind kind, std::string_view text, const Mark& mark) {
  const bool list = kind == Kind::kTextList || kind == Kind::kNumberList;
  const bool map = kind == Kind::kTextMap || kind == Kind::kTree;
  const std::string_view start = trimmed(text).substr(0, 1);
  if ((list && start == "[") || (map && start == "{")) {
    YamlNode node = parse_yaml(text, *mark.source);
    place_at(node, mark);
    return node;
  }
  if (list && text.find(',') != std::string_view::npos) return comma_list(text, mark);
  return scalar(text, mark);
}

const KeySpec* find_anywhere(std::string_view name) {
  for (const Place place : kPlaces) {
    if (const KeySpec* key = find_key(place, name)) return key;
  }
  return nullptr;
}

/// `dataset.columns.prompt` names an entry of the map `dataset.columns`.
const KeySpec* find_map_above(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == name.size()) return nullptr;
  const KeySpec* key = find_anywhere(name.substr(0, dot));
  return key != nullptr && (key->kind == Kind::kTextMap || key->kind == Kind::kTree) ? key : nullptr;
}

[[noreturn]] void refuse_unknown(const std::string& name, const Mark& mark) {
  const std::size_t dot = name.rfind('.');
  const std::string group = dot == std::string::npos ? std::string() : name.substr(0, dot);
  if (is_group(Place::kSettings, name)) {
    throw bad_input("{}: '{}' is a group of keys; give one of them, for example --{}.path", mark.text(), name, name);
  }
  if (is_group(Place::kSettings, group)) {
    throw bad_input("{}: {}", mark.text(), unknown_key_text(Place::kSettings, group, name.substr(dot + 1)));
  }
  std::vector<std::string> names;
  for (const KeySpec& key : schema()) {
    names.push_back(key.name);
    const auto& other = key.elsewhere;
    if (std::find(other.begin(), other.end(), name) != other.end()) {
      throw bad_input("{}: unknown key '{}'; did you mean '{}'?", mark.text(), name, key.name);
    }
  }
  throw bad_input("{}: unknown key '{}'{}", mark.text(), name, did_you_mean(name, names));
}

std::string key_of(std::string_view option) {
  std::string key(option.substr(2));
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

}  // namespace

CommandLineValue read_override(const Override& override) {
  const auto& [name, text] = override;
  const Mark mark{std::make_shared<const std::string>("--" + name), 0, 0};
  if (const KeySpec* key = find_anywhere(name)) return {key, name, read_node(key->kind, text, mark)};
  if (const KeySpec* key = find_map_above(name)) {
    CommandLineValue result{key, name, {}};
    result.value.kind = YamlNode::Kind::kMap;
    result.value.mark = mark;
    result.value.entries.push_back({name.substr(name.rfind('.') + 1), mark, scalar(text, mark)});
    return result;
  }
  for (const Place place : kPlaces) {
    if (is_foreign_key(place, name)) return {nullptr, name, {}};
  }
  refuse_unknown(name, mark);
}

std::vector<Override> parse_overrides(const std::vector<std::string>& arguments) {
  std::vector<Override> overrides;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--") || argument.size() == 2 || argument[2] == '=') {
      throw bad_input("unexpected argument '{}'; settings are written --key value or --key=value", argument);
    }
    if (const std::size_t equals = argument.find('='); equals != std::string::npos) {
      overrides.emplace_back(key_of(std::string_view(argument).substr(0, equals)), argument.substr(equals + 1));
      continue;
    }
    const std::string key = key_of(argument);
    if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
      overrides.emplace_back(key, arguments[++i]);
      continue;
    }
    const KeySpec* known = find_anywhere(key);
    if (known == nullptr) read_override({key, ""});  // says so when the key is unknown
    if (known != nullptr && known->kind != Kind::kTruth) {
      throw bad_input("{} needs a value: --{} {}", argument, key, known->type);
    }
    overrides.emplace_back(key, "true");
  }
  return overrides;
}

}  // namespace primus::config
