#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/tokenizer_parts.h"

namespace primus::tokenizer {
namespace {

std::string normalized(const Normalizer* normalizer, const std::string& text) {
  AlignedText aligned(text, 0, false);
  if (normalizer != nullptr) normalizer->apply(aligned);
  return std::string(aligned.view());
}

void add_token(Tokenizer::Parts& parts, const AddedToken& token) {
  if (token.content.empty()) return;
  if (parts.vocabulary.has(token.id) && parts.vocabulary.text(token.id) != token.content) {
    throw bad_input("{}: the id {} belongs to \"{}\" and to the added token \"{}\"", parts.name, token.id,
                    parts.vocabulary.text(token.id), token.content);
  }
  parts.vocabulary.add(token.content, token.id);
  const auto [place, fresh] = parts.added_index.emplace(token.id, parts.added.size());
  if (fresh) {
    parts.added.push_back(token);
  } else {
    parts.added[place->second] = token;
  }
}

bool is_added(const Tokenizer::Parts& parts, const std::string& content) {
  const auto id = parts.vocabulary.find(content);
  return id && parts.added_index.contains(*id);
}

/// Tokens that only tokenizer_config.json knows are added as transformers adds them.
void add_configured_tokens(Tokenizer::Parts& parts) {
  for (AddedToken token : parts.config.added_tokens) {
    if (is_added(parts, token.content)) continue;
    if (const auto id = parts.vocabulary.find(token.content)) token.id = *id;
    if (parts.vocabulary.has(token.id) && parts.vocabulary.text(token.id) != token.content) continue;
    add_token(parts, token);
  }
  for (const auto& [name, value] : parts.config.special_tokens_map.as_dict()) {
    const std::string& content = value.as_string();
    const auto id = parts.vocabulary.find(content);
    if (!id || is_added(parts, content)) continue;
    AddedToken token;
    token.id = *id;
    token.content = content;
    token.special = true;
    add_token(parts, token);
  }
}

void fill_matchers(Tokenizer::Parts& parts) {
  for (const AddedToken& token : parts.added) {
    if (token.normalized) {
      parts.in_normalized.add(normalized(parts.normalizer.get(), token.content), token);
    } else {
      parts.in_text.add(token.content, token);
    }
  }
}

void obey_configuration(Tokenizer::Parts& parts) {
  const TokenizerConfig& config = parts.config;
  if (!config.add_bos_token && !config.add_eos_token) return;
  const auto id_of = [&](std::string_view key) -> std::vector<TokenId> {
    const Value* text = config.special_tokens_map.find(key);
    if (text == nullptr) return {};
    const auto id = parts.vocabulary.find(text->as_string());
    return id ? std::vector{*id} : std::vector<TokenId>{};
  };
  if (config.add_bos_token)
    parts.post_processor.before = *config.add_bos_token ? id_of("bos_token") : std::vector<TokenId>{};
  if (config.add_eos_token)
    parts.post_processor.after = *config.add_eos_token ? id_of("eos_token") : std::vector<TokenId>{};
}

std::unique_ptr<Tokenizer::Parts> assemble(std::string_view json, TokenizerConfig config, const std::string& name) {
  TokenizerFile file = parse_tokenizer_json(json, name);
  auto parts = std::make_unique<Tokenizer::Parts>();
  parts->name = name;
  parts->config = std::move(config);
  parts->normalizer = make_normalizer(file.normalizer, name + ": normalizer");
  parts->pre_tokenizer = make_pre_tokenizer(file.pre_tokenizer, name + ": pre_tokenizer");
  parts->post_processor = make_post_processor(file.post_processor, name + ": post_processor");
  parts->decoder = std::make_unique<Decoder>(file.decoder, name + ": decoder");

  BpeOptions options;
  options.byte_level = parts->pre_tokenizer.byte_level;
  options.byte_fallback = file.byte_fallback;
  options.ignore_merges = file.ignore_merges;
  options.fuse_unk = file.fuse_unk;
  if (!file.unk_token.empty()) {
    options.unk_id = file.vocabulary.find(file.unk_token);
    if (!options.unk_id) throw bad_input("{}: model: unk_token \"{}\" is not in the vocabulary", name, file.unk_token);
  }
  parts->model = std::make_unique<Bpe>(file.vocabulary, file.merges, options, name + ": model");
  parts->vocabulary = std::move(file.vocabulary);
  for (const AddedToken& token : file.added_tokens) add_token(*parts, token);
  add_configured_tokens(*parts);
  fill_matchers(*parts);
  obey_configuration(*parts);
  for (const auto* ids : {&parts->post_processor.before, &parts->post_processor.after}) {
    for (const TokenId id : *ids) {
      if (!parts->vocabulary.has(id)) throw bad_input("{}: post_processor: no token has the id {}", name, id);
    }
  }
  return parts;
}

std::string fingerprint_of(std::string_view tokenizer_json, std::string_view config_json,
                           const TokenizerConfig& config) {
  Digest digest;
  const auto add = [&](std::string_view text) { digest.update(sha256(text)); };
  add(tokenizer_json);
  add(config_json);
  add(to_json(config.special_tokens_map));
  for (const NamedTemplate& named : config.templates) {
    add(named.name);
    add(named.source);
  }
  return digest.finish();
}

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  const auto main_file = folder / "tokenizer.json";
  std::error_code ignored;
  if (!std::filesystem::exists(main_file, ignored)) {
    const bool has_model = std::filesystem::exists(folder / "tokenizer.model", ignored);
    throw bad_input("{}: no such file{}", main_file.string(),
                    has_model ? "; tokenizer.model alone is not supported: save the tokenizer with transformers, which "
                                "writes tokenizer.json"
                              : "; a checkpoint's folder must hold tokenizer.json");
  }
  const MappedFile json(main_file);
  std::string config_json;
  const auto config_file = folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_file, ignored)) config_json = read_text(config_file);
  TokenizerConfig config = parse_tokenizer_config(config_json, config_file.string());
  const auto map_file = folder / "special_tokens_map.json";
  if (config.added_tokens.empty() && std::filesystem::exists(map_file, ignored)) {
    merge_special_tokens_map(config, read_text(map_file), map_file.string());
  }
  read_template_files(config, folder);
  auto parts = assemble(json.text(), std::move(config), main_file.string());
  parts->fingerprint = fingerprint_of(json.text(), config_json, parts->config);
  return Tokenizer(std::move(parts));
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                           const std::string& name) {
  auto parts = assemble(tokenizer_json, parse_tokenizer_config(tokenizer_config_json, "tokenizer_config.json"), name);
  parts->fingerprint = fingerprint_of(tokenizer_json, tokenizer_config_json, parts->config);
  return Tokenizer(std::move(parts));
}

}  // namespace primus::tokenizer
