#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"
#include "config/yaml_tree.h"

/// The one list of keys. Reading, checking, showing and documenting a configuration all walk it.
namespace primus::config {

/// Where in the file a key stands.
enum class Place {
  kRun,       // at the top
  kModule,    // under modules.post_trainer
  kSettings,  // under modules.post_trainer.overrides, and in presets
};

/// "at the top of the file", "under modules.post_trainer", …
std::string_view place_text(Place place);

enum class Kind { kTruth, kInteger, kNumber, kText, kChoice, kTextList, kNumberList, kTextMap, kTree };

struct KeySpec {
  std::string name;  // dotted when nested: dataset.path
  Place place = Place::kSettings;
  Kind kind = Kind::kText;
  std::string section;                 // heading in the reference
  std::string type;                    // for the reader: "integer ≥ 1"
  std::string default_text;            // for the reader
  std::string meaning;                 // one or two sentences
  std::vector<std::string> aliases;    // other names of the same key, accepted
  std::vector<std::string> elsewhere;  // what other trainers call it: not accepted, but suggested
  bool nullable = false;               // `key: null` takes the default
  bool null_keeps_lower = false;       // `key: null` leaves what a lower layer set

  std::function<void(RunConfig&, const YamlNode&)> set;  // throws Error for a value of the wrong type or range
  std::function<void(RunConfig&)> reset;                 // what null does
  std::function<std::string(const RunConfig&)> show;     // the value as YAML text

  /// For schema_keys.cpp: finish the description of the key just added.
  KeySpec& alias(std::string other);
  KeySpec& called_elsewhere(std::vector<std::string> names);
  KeySpec& null_is_default();
  KeySpec& default_is(std::string text);
};

/// All keys in the order of the reference, place by place.
const std::vector<KeySpec>& schema();

/// By name or alias; null when there is none.
const KeySpec* find_key(Place place, std::string_view name);

/// Whether keys of `place` are nested below `group`, e.g. dataset.
bool is_group(Place place, std::string_view group);

/// "unknown key 'x'" with the name that was probably meant or the place where the key belongs. `group` is the dotted
/// path above the key, or empty.
std::string unknown_key_text(Place place, std::string_view group, std::string_view key);

/// A key that Megatron Bridge, Megatron or Primus give a meaning and this engine none.
bool is_foreign_key(Place place, std::string_view name);

/// Their names and prefixes (with a trailing `*`), for the reference.
std::vector<std::string> foreign_keys();

/// Hugging Face names of the linear projections that PEFT target names stand for, in the model's order and each once;
/// empty for all seven. Throws Error for an unknown name.
std::vector<std::string> expand_target_modules(const YamlNode& node, std::string_view key);

}  // namespace primus::config
