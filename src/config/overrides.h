#pragma once

#include "config/load.h"
#include "config/schema.h"

namespace primus::config {

/// One override made into a node of the form its key expects. Lists may be written `a,b` or `[a, b]`, maps `{a: b}`;
/// everything else is taken as it stands.
struct CommandLineValue {
  const KeySpec* key = nullptr;  // null: a key with a meaning elsewhere only
  std::string name;
  YamlNode value;
};

/// Throws Error for an unknown key or a list or map that is not valid YAML.
CommandLineValue read_override(const Override& override);

}  // namespace primus::config
