#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace primus::tokenizer {

/// What stands beside tokenizer.json.
struct TokenizerConfig {
  Value special_tokens_map = Dict{};     // bos_token, eos_token, … as texts; only those that are set
  std::vector<AddedToken> added_tokens;  // added_tokens_decoder
  std::vector<NamedTemplate> templates;
  /// Set only where the tokenizer's class obeys them (Llama, Gemma): they then replace the post-processor.
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
};

/// `json` empty: no file. Throws Error with `file`.
TokenizerConfig parse_tokenizer_config(std::string_view json, const std::string& file);
/// special_tokens_map.json fills what tokenizer_config.json leaves out.
void merge_special_tokens_map(TokenizerConfig& config, std::string_view json, const std::string& file);
/// chat_template.jinja and additional_chat_templates/*.jinja replace the templates of tokenizer_config.json.
void read_template_files(TokenizerConfig& config, const std::filesystem::path& folder);

/// One entry of tokenizer.json's "added_tokens" or of added_tokens_decoder.
AddedToken parse_added_token(const Value& spec, std::int64_t id, const std::string& where);

}  // namespace primus::tokenizer
