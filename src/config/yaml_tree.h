#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// YAML as a tree that remembers where everything stands. yaml-cpp reads the text; types are given later, by the
/// schema.
namespace primus::config {

/// A place in a file, or an option of the command line (line 0).
struct Mark {
  std::shared_ptr<const std::string> source;
  int line = 0;    // from 1
  int column = 0;  // from 1

  /// "file:line:column", or the option.
  std::string text() const;
};

struct MapEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  Mark mark;
  std::string text;               // kScalar: as written, without its quotes
  bool quoted = false;            // kScalar: written in quotes or as a block, so never a number, truth value or null
  std::vector<YamlNode> items;    // kList
  std::vector<MapEntry> entries;  // kMap, in the order written, every key once

  /// The value of `key` in a map, or null.
  const YamlNode* find(std::string_view key) const;
  YamlNode* find(std::string_view key);
};

struct MapEntry {
  std::string key;
  Mark mark;
  YamlNode value;
};

/// One YAML document. `source` names the text in marks and errors. An empty text gives a null node.
/// Throws Error with file:line:column for broken YAML, doubled keys, keys that are not plain text, merge keys (`<<`),
/// tags other than `!!str`, nesting deeper than 64, more than 100,000 nodes (aliases counted as often as used), and a
/// second document.
YamlNode parse_yaml(std::string_view text, const std::string& source);

/// True for the plain scalars that YAML reads as null.
bool is_null_text(std::string_view text);

}  // namespace primus::config
