#include "config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace primus::config {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 100'000;
constexpr std::string_view kStringTag = "tag:yaml.org,2002:str";

std::size_t count_nodes(const YamlNode& node) {
  std::size_t count = 1;
  for (const YamlNode& item : node.items) count += count_nodes(item);
  for (const MapEntry& entry : node.entries) count += count_nodes(entry.value);
  return count;
}

/// Whether the quote at `start` is closed; yaml-cpp takes the end of the text for a closing one.
bool is_closed_quote(std::string_view text, std::size_t start) {
  const char quote = text[start];
  for (std::size_t at = start + 1; at < text.size(); ++at) {
    const bool doubled = text[at] == '\'' && at + 1 < text.size() && text[at + 1] == '\'';
    const bool escaped = quote == '"' ? text[at] == '\\' : doubled;
    if (escaped) {
      ++at;
    } else if (text[at] == quote) {
      return true;
    }
  }
  return false;
}

/// Builds the tree out of yaml-cpp's events. Containers under construction lie on a stack; in a map, events alternate
/// between a key and its value.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::shared_ptr<const std::string> source, std::string_view text)
      : source_(std::move(source)), text_(text) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    node.mark = at(mark);
    add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      throw bad_input("{}: this alias stands inside the node that it names", at(mark).text());
    }
    YamlNode copy = found->second;
    copy.mark = at(mark);
    nodes_ += count_nodes(copy) - 1;
    if (!open_.empty()) check_key(copy);
    add(std::move(copy), 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node;
    node.kind = YamlNode::Kind::kScalar;
    node.mark = at(mark);
    node.text = value;
    node.quoted = tag == "!" || tag == kStringTag;
    if (!node.quoted) check_tag(tag, node.mark);
    const auto start = static_cast<std::size_t>(mark.pos);
    const bool in_quotes = node.quoted && start < text_.size() && (text_[start] == '"' || text_[start] == '\'');
    if (in_quotes && !is_closed_quote(text_, start)) {
      throw bad_input("{}: not valid YAML: this quote is never closed", node.mark.text());
    }
    add(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    MapEntry entry;  // the key that waits for its value
  };

  Mark at(const YAML::Mark& mark) const { return {source_, mark.line + 1, mark.column + 1}; }

  static void check_tag(const std::string& tag, const Mark& mark) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw bad_input("{}: the tag '{}' has no meaning here; write the plain value", mark.text(), tag);
    }
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    check_tag(tag, at(mark));
    if (open_.size() == kMaxDepth) {
      throw bad_input("{}: nested deeper than {} levels", at(mark).text(), kMaxDepth);
    }
    Open next;
    next.node.kind = kind;
    next.node.mark = at(mark);
    next.anchor = anchor;
    if (!open_.empty()) check_key(next.node);
    open_.push_back(std::move(next));
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  /// A node that comes where a map expects a key must be a scalar.
  void check_key(const YamlNode& node) const {
    const Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::kMap && !parent.has_key && node.kind != YamlNode::Kind::kScalar) {
      throw bad_input("{}: a key must be plain text", node.mark.text());
    }
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    if (++nodes_ > kMaxNodes) {
      throw bad_input("{}: more than {} values", node.mark.text(), kMaxNodes);
    }
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      check_key(node);
      add_key(parent, std::move(node));
    } else {
      parent.entry.value = std::move(node);
      parent.node.entries.push_back(std::move(parent.entry));
      parent.entry = {};
      parent.has_key = false;
    }
  }

  static void add_key(Open& parent, YamlNode key) {
    if (key.text == "<<" && !key.quoted) {
      throw bad_input("{}: merge keys ('<<') are not supported; use 'extends: [file]' or write the keys out",
                      key.mark.text());
    }
    for (const MapEntry& entry : parent.node.entries) {
      if (entry.key == key.text) {
        throw bad_input("{}: the key '{}' is doubled; it was given before at line {}, column {}", key.mark.text(),
                        key.text, entry.mark.line, entry.mark.column);
      }
    }
    parent.entry.key = std::move(key.text);
    parent.entry.mark = std::move(key.mark);
    parent.has_key = true;
  }

  std::shared_ptr<const std::string> source_;
  std::string_view text_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  YamlNode root_;
  std::size_t nodes_ = 0;
};

}  // namespace

std::string Mark::text() const {
  if (!source) return {};
  return line == 0 ? *source : fmt::format("{}:{}:{}", *source, line, column);
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const MapEntry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

YamlNode* YamlNode::find(std::string_view key) { return const_cast<YamlNode*>(std::as_const(*this).find(key)); }

bool is_null_text(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

YamlNode parse_yaml(std::string_view text, const std::string& source) {
  const auto name = std::make_shared<const std::string>(source);
  TreeBuilder builder(name, text);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    YamlNode root;
    root.mark = {name, 1, 1};
    if (!parser.HandleNextDocument(builder)) return root;
    root = builder.take();
    TreeBuilder second(name, text);
    if (parser.HandleNextDocument(second)) {
      throw bad_input("{}: this does not belong to what stands above it (wrong indentation, or a second YAML document)",
                      second.take().mark.text());
    }
    return root;
  } catch (const YAML::Exception& error) {
    const Mark mark{name, error.mark.line + 1, error.mark.column + 1};
    throw bad_input(
        "{}: not valid YAML: {} (check the indentation, and quote values that hold ': ' or begin with a sign)",
        mark.text(), error.msg);
  }
}

}  // namespace primus::config
