#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace primus::tokenizer {

struct BuiltInTemplate {
  std::string_view name;
  std::string source;
};

/// Chat templates for checkpoints that have none. They write texts, also in parts, and refuse tools and tool calls.
const std::vector<BuiltInTemplate>& built_in_templates();

}  // namespace primus::tokenizer
