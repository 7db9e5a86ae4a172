#include "config/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "config/schema.h"

namespace primus::config {
namespace {

constexpr std::size_t kCommentColumn = 56;

using Comment = std::function<std::string(const KeySpec&)>;

/// Writes keys line by line, opening a nested map when a dotted name's group begins.
class YamlWriter {
 public:
  YamlWriter(const RunConfig& config, Comment comment) : config_(config), comment_(std::move(comment)) {}

  void line(const std::string& text) { text_ += text + "\n"; }

  void keys(Place place, std::size_t indent, bool headings) {
    std::string section, group;
    for (const KeySpec& key : schema()) {
      if (key.place != place) continue;
      if (headings && key.section != section) {
        text_ += fmt::format("{}{:{}}# {}\n", section.empty() ? "" : "\n", "", indent, key.section);
      }
      section = key.section;
      const std::size_t dot = key.name.find('.');
      const std::string key_group = dot == std::string::npos ? std::string() : key.name.substr(0, dot);
      if (key_group != group && !key_group.empty()) text_ += fmt::format("{:{}}{}:\n", "", indent, key_group);
      group = key_group;
      value(key, key.name.substr(dot == std::string::npos ? 0 : dot + 1), indent + (group.empty() ? 0 : 2));
    }
  }

  std::string take() { return std::move(text_); }

 private:
  void value(const KeySpec& key, const std::string& name, std::size_t indent) {
    std::string line = fmt::format("{:{}}{}: {}", "", indent, name, key.show(config_));
    const std::string comment = comment_(key);
    if (!comment.empty())
      line += fmt::format("{:{}}  # {}", "", kCommentColumn - std::min(kCommentColumn, line.size()), comment);
    text_ += line + "\n";
  }

  const RunConfig& config_;
  Comment comment_;
  std::string text_;
};

std::string write(const RunConfig& config, const Comment& comment) {
  YamlWriter writer(config, comment);
  writer.keys(Place::kRun, 0, false);
  writer.line("");
  writer.line("modules:");
  writer.line("  post_trainer:");
  writer.keys(Place::kModule, 4, false);
  writer.line("    overrides:");
  writer.keys(Place::kSettings, 6, true);
  return writer.take();
}

std::string layer_text(const Provenance& source) {
  switch (source.layer) {
    case Layer::kDefault:
      return "default";
    case Layer::kModelPreset:
      return "model preset " + source.where;
    case Layer::kModulePreset:
      return "module preset " + source.where;
    case Layer::kRunFile:
      return source.where;
    case Layer::kCommandLine:
      return "command line " + source.where;
  }
  return {};
}

}  // namespace

std::string to_yaml(const RunConfig& config) {
  return write(config, [](const KeySpec&) { return std::string(); });
}

std::string explain(const Resolved& resolved) {
  return write(resolved.config, [&](const KeySpec& key) {
    const Provenance& source = resolved.source_of(key.name);
    std::string text = layer_text(source);
    if (source.null) text += " says null";
    const bool depends = key.default_text != key.show(RunConfig()) && key.kind != Kind::kTree;
    if (depends && (source.null || source.layer == Layer::kDefault)) text += ": " + key.default_text;
    return text;
  });
}

}  // namespace primus::config
