#pragma once

#include <string_view>
#include <vector>

namespace primus::tokenizer {

struct BuiltInTemplate {
  std::string_view name;
  std::string_view source;
};

/// Chat templates for checkpoints that have none.
const std::vector<BuiltInTemplate>& built_in_templates();

}  // namespace primus::tokenizer
