#pragma once

#include <filesystem>
#include <string>

#include "config/load.h"
#include "config/yaml_tree.h"

namespace primus::config {

/// Replaces `${VAR}` and `${VAR:default}` in a text; `$${` stands for `${` itself. `where` begins the error.
/// Throws Error when a variable without default is not set, and for `${` without a name or a closing brace.
std::string substitute(std::string_view text, const Environment& environment, const std::string& where);

/// The same in every scalar below `node`. A scalar that is nothing but one `${…}` becomes plain whether it was quoted
/// or not, so that it can be a number; a plain one that turns out empty or `null` becomes null.
void substitute_all(YamlNode& node, const Environment& environment);

/// Lays `upper` over `lower`: maps are merged key by key, everything else is replaced.
void merge_over(YamlNode& lower, YamlNode upper);

/// A YAML file with its variables substituted and its `extends:` files merged under it (relative to the file, later
/// ones win, cycles refused). The result is a map. Throws Error.
YamlNode read_document(const std::filesystem::path& path, const Environment& environment);

}  // namespace primus::config
