#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/yaml_tree.h"

/// Nodes to typed values. Every function throws Error "where: key: found …; expected …" when the node is of another
/// type or out of range.
namespace primus::config {

/// The numbers that a key accepts.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool least_open = false;  // the bound itself is excluded
  bool most_open = false;

  bool holds(double value) const;
  /// " ≥ 1", " in [0, 1)", or empty for all numbers.
  std::string text() const;
};

/// `012` is twelve. Throws for fractions, exponents and numbers beyond 64 bits too.
std::int64_t read_integer(const YamlNode& node, std::string_view key, const Range& range);
double read_number(const YamlNode& node, std::string_view key, const Range& range);
/// true or false (also True, TRUE, False, FALSE).
bool read_truth(const YamlNode& node, std::string_view key);
/// Any scalar as it is written.
std::string read_text_value(const YamlNode& node, std::string_view key);
/// The name of a folder, or several joined by '/': what cannot lead out of the folder that it stands in.
std::string read_folder_name(const YamlNode& node, std::string_view key);
/// A list of scalars; a single scalar is a list of one.
std::vector<std::string> read_text_list(const YamlNode& node, std::string_view key);
std::vector<double> read_number_list(const YamlNode& node, std::string_view key, const Range& range);
/// A map of scalars.
std::map<std::string, std::string> read_text_map(const YamlNode& node, std::string_view key);

/// The position of the scalar in `names`.
std::size_t read_choice(const YamlNode& node, std::string_view key, const std::vector<std::string>& names);

/// The map as JSON text on one line, "{"a": 1, "b": [true, null]}": quoted scalars are strings, plain ones whatever
/// YAML's core schema makes of them.
std::string to_json(const YamlNode& node);

/// What a node is, for messages: "the number 5", "the text 'x'", "a list", "nothing (null)".
std::string describe(const YamlNode& node);

}  // namespace primus::config
