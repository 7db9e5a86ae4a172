#include <algorithm>
#include <map>

#include "base/error.h"
#include "config/nearest.h"
#include "config/read_value.h"
#include "config/schema.h"

namespace primus::config {
namespace {

const std::vector<std::string> kProjections = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                               "gate_proj", "up_proj", "down_proj"};

/// Megatron's names of fused and split projections, and PEFT's name for all of them.
const std::map<std::string, std::vector<std::string>>& group_names() {
  static const std::map<std::string, std::vector<std::string>> groups = {
      {"linear_qkv", {"q_proj", "k_proj", "v_proj"}},
      {"linear_q", {"q_proj"}},
      {"linear_k", {"k_proj"}},
      {"linear_v", {"v_proj"}},
      {"linear_proj", {"o_proj"}},
      {"linear_fc1", {"gate_proj", "up_proj"}},
      {"linear_fc1_gate", {"gate_proj"}},
      {"linear_fc1_up", {"up_proj"}},
      {"linear_fc2", {"down_proj"}},
      {"all-linear", kProjections},
  };
  return groups;
}

}  // namespace

std::vector<std::string> expand_target_modules(const YamlNode& node, std::string_view key) {
  const std::vector<std::string> names = read_text_list(node, key);
  if (names.empty()) throw bad_input("{}: {} names no module; give null for all of them", node.mark.text(), key);
  std::vector<bool> chosen(kProjections.size(), false);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto group = group_names().find(names[i]);
    const std::vector<std::string> members = group != group_names().end() ? group->second : std::vector{names[i]};
    for (const std::string& member : members) {
      const auto found = std::find(kProjections.begin(), kProjections.end(), member);
      if (found == kProjections.end()) {
        std::vector<std::string> known = kProjections;
        for (const auto& [name, unused] : group_names()) known.push_back(name);
        const Mark& mark = node.kind == YamlNode::Kind::kList ? node.items[i].mark : node.mark;
        throw bad_input("{}: {}: unknown module '{}'{}; known: {}", mark.text(), key, names[i],
                        did_you_mean(names[i], known), fmt::join(known, ", "));
      }
      chosen[static_cast<std::size_t>(found - kProjections.begin())] = true;
    }
  }
  std::vector<std::string> expanded;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i]) expanded.push_back(kProjections[i]);
  }
  return expanded.size() == kProjections.size() ? std::vector<std::string>() : expanded;
}

}  // namespace primus::config
