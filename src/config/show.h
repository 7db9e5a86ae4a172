#pragma once

#include <string>

#include "config/load.h"

/// The configuration as text: resolved, explained, documented. All three walk the schema.
namespace primus::config {

/// The resolved configuration as YAML of the guide's form. Loading it again gives an equal RunConfig.
std::string to_yaml(const RunConfig& config);

/// to_yaml with a comment behind each value that says where it came from.
std::string explain(const Resolved& resolved);

/// Every key with its type, default, allowed values and meaning: docs/reference-config.md.
std::string reference_markdown();

}  // namespace primus::config
