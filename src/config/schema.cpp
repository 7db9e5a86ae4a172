#include "config/schema.h"

#include <algorithm>

#include "base/error.h"
#include "config/nearest.h"
#include "config/read_value.h"

namespace primus::config {
namespace {

constexpr Place kPlaces[] = {Place::kRun, Place::kModule, Place::kSettings};

/// The keys and groups that may stand directly below `group`.
std::vector<std::string> names_below(Place place, std::string_view group) {
  const std::string prefix = group.empty() ? std::string() : std::string(group) + ".";
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (!name.starts_with(prefix)) return;
    const std::string rest = name.substr(prefix.size());
    names.emplace_back(rest, 0, rest.find('.'));
  };
  for (const KeySpec& key : schema()) {
    if (key.place != place) continue;
    add(key.name);
    for (const std::string& other : key.aliases) add(other);
  }
  if (group.empty() && place == Place::kRun) names.insert(names.end(), {"modules", "extends"});
  if (group.empty() && place == Place::kModule) names.emplace_back("overrides");
  return names;
}

const KeySpec* find_by_foreign_name(std::string_view name) {
  for (const KeySpec& key : schema()) {
    if (std::find(key.elsewhere.begin(), key.elsewhere.end(), name) != key.elsewhere.end()) return &key;
  }
  return nullptr;
}

}  // namespace

std::string_view place_text(Place place) {
  switch (place) {
    case Place::kRun:
      return "at the top of the file";
    case Place::kModule:
      return "under modules.post_trainer";
    case Place::kSettings:
      return "under modules.post_trainer.overrides";
  }
  return {};
}

KeySpec& KeySpec::alias(std::string other) {
  aliases.push_back(std::move(other));
  return *this;
}

KeySpec& KeySpec::called_elsewhere(std::vector<std::string> names) {
  elsewhere = std::move(names);
  return *this;
}

KeySpec& KeySpec::null_is_default() {
  nullable = true;
  return *this;
}

KeySpec& KeySpec::default_is(std::string text) {
  default_text = std::move(text);
  return *this;
}

const KeySpec* find_key(Place place, std::string_view name) {
  for (const KeySpec& key : schema()) {
    if (key.place != place) continue;
    if (key.name == name || std::find(key.aliases.begin(), key.aliases.end(), name) != key.aliases.end()) return &key;
  }
  return nullptr;
}

bool is_group(Place place, std::string_view group) {
  const std::string prefix = std::string(group) + ".";
  return std::any_of(schema().begin(), schema().end(),
                     [&](const KeySpec& key) { return key.place == place && key.name.starts_with(prefix); });
}

std::string unknown_key_text(Place place, std::string_view group, std::string_view key) {
  const std::string full = group.empty() ? std::string(key) : fmt::format("{}.{}", group, key);
  std::string unknown = fmt::format("unknown key '{}'", full);
  for (const Place other : kPlaces) {
    if (other != place && (find_key(other, full) != nullptr || (group.empty() && is_group(other, full)))) {
      return fmt::format("{} here; it belongs {}", unknown, place_text(other));
    }
  }
  if (const KeySpec* meant = find_by_foreign_name(key)) {
    return fmt::format("{}; did you mean '{}'?", unknown, meant->name);
  }
  if (key.find('.') != std::string_view::npos && find_key(place, full) != nullptr) {
    return fmt::format("{}; write it nested: {}: {{{}: …}}", unknown, key.substr(0, key.find('.')),
                       key.substr(key.find('.') + 1));
  }
  const std::string nearest = nearest_name(key, names_below(place, group));
  if (nearest.empty()) return unknown;
  return fmt::format("{}; did you mean '{}{}{}'?", unknown, group, group.empty() ? "" : ".", nearest);
}

}  // namespace primus::config
