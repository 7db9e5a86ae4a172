#include "tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/spec.h"

namespace primus::tokenizer {
namespace {

constexpr std::int64_t kMaxId = (1 << 23) - 1;
constexpr const char* kSpecialNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token"};

/// A special token is a text or {"content": text, …}.
std::optional<std::string> special_text(const Value* value, std::string_view key, const std::string& file) {
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (value->is_string()) return value->as_string();
  if (value->is_dict()) return spec::text(*value, "content", fmt::format("{}: {}", file, key));
  throw bad_input("{}: \"{}\" must be a string or an object with \"content\", found {}", file, key, value->kind_name());
}

/// What the classes of transformers take for tokens that the file does not mention.
const char* class_default(std::string_view tokenizer_class, std::string_view key) {
  const auto is = [&](std::string_view name) { return tokenizer_class.starts_with(name); };
  if (is("Llama") || is("CodeLlama")) {
    return key == "bos_token" ? "<s>" : key == "eos_token" ? "</s>" : key == "unk_token" ? "<unk>" : nullptr;
  }
  if (is("Gemma")) {
    return key == "bos_token"   ? "<bos>"
           : key == "eos_token" ? "<eos>"
           : key == "unk_token" ? "<unk>"
           : key == "pad_token" ? "<pad>"
                                : nullptr;
  }
  if (is("GPT2")) return key == "bos_token" || key == "eos_token" || key == "unk_token" ? "<|endoftext|>" : nullptr;
  if (is("Qwen2")) return key == "eos_token" || key == "unk_token" || key == "pad_token" ? "<|endoftext|>" : nullptr;
  return nullptr;
}

void read_templates(TokenizerConfig& config, const Value* value, const std::string& file) {
  if (value == nullptr || value->is_null()) return;
  if (value->is_string()) {
    config.templates.push_back({"default", value->as_string(), file});
    return;
  }
  if (!value->is_list()) {
    throw bad_input("{}: \"chat_template\" must be a string or a list of named templates, found {}", file,
                    value->kind_name());
  }
  for (const Value& named : value->as_list()) {
    const std::string where = fmt::format("{}: chat_template", file);
    config.templates.push_back({spec::text(named, "name", where), spec::text(named, "template", where), file});
  }
}

}  // namespace

AddedToken parse_added_token(const Value& spec, std::int64_t id, const std::string& where) {
  if (!spec.is_dict()) throw bad_input("{}: an added token must be an object, found {}", where, spec.kind_name());
  if (id < 0 || id > kMaxId)
    throw bad_input("{}: an added token has the id {} (0 to {} are possible)", where, id, kMaxId);
  AddedToken token;
  token.id = static_cast<TokenId>(id);
  token.content = spec::text(spec, "content", where);
  if (token.content.size() > AddedTokenMatcher::kMaxContent) {
    throw bad_input("{}: added token {} has {} bytes ({} are possible)", where, id, token.content.size(),
                    AddedTokenMatcher::kMaxContent);
  }
  token.special = spec::flag(spec, "special", false, where);
  token.single_word = spec::flag(spec, "single_word", false, where);
  token.lstrip = spec::flag(spec, "lstrip", false, where);
  token.rstrip = spec::flag(spec, "rstrip", false, where);
  token.normalized = spec::flag(spec, "normalized", !token.special, where);
  return token;
}

TokenizerConfig parse_tokenizer_config(std::string_view json, const std::string& file) {
  TokenizerConfig config;
  const Value root = json.empty() ? Value(Dict{}) : parse_json(json, file);
  if (!root.is_dict()) throw bad_input("{}: expected an object, found {}", file, root.kind_name());
  const std::string tokenizer_class = spec::text_or(root, "tokenizer_class", "", file);
  Dict specials;
  for (const char* name : kSpecialNames) {
    const Value* value = root.find(name);
    if (const auto text = special_text(value, name, file)) {
      specials.set(name, Value(*text));
    } else if (value == nullptr && class_default(tokenizer_class, name) != nullptr) {
      specials.set(name, Value(class_default(tokenizer_class, name)));
    }
  }
  config.special_tokens_map = Value(std::move(specials));
  if (const Value* added = root.find("added_tokens_decoder"); added != nullptr && added->is_dict()) {
    const std::string where = fmt::format("{}: added_tokens_decoder", file);
    for (const auto& [key, spec] : added->as_dict()) {
      std::int64_t id = -1;
      const auto result = std::from_chars(key.data(), key.data() + key.size(), id);
      if (result.ec != std::errc() || result.ptr != key.data() + key.size()) {
        throw bad_input("{}: \"{}\" is no token id", where, key);
      }
      config.added_tokens.push_back(parse_added_token(spec, id, where));
    }
  }
  if (tokenizer_class.starts_with("Llama") || tokenizer_class.starts_with("CodeLlama") ||
      tokenizer_class.starts_with("Gemma")) {
    const auto flag = [&](std::string_view key) -> std::optional<bool> {
      const Value* value = root.find(key);
      return value != nullptr && value->is_bool() ? std::optional(value->as_bool()) : std::nullopt;
    };
    config.add_bos_token = flag("add_bos_token");
    config.add_eos_token = flag("add_eos_token");
  }
  read_templates(config, root.find("chat_template"), file);
  return config;
}

void merge_special_tokens_map(TokenizerConfig& config, std::string_view json, const std::string& file) {
  const Value root = parse_json(json, file);
  if (!root.is_dict()) throw bad_input("{}: expected an object, found {}", file, root.kind_name());
  Dict specials = config.special_tokens_map.as_dict();
  for (const char* name : kSpecialNames) {
    if (specials.find(name) != nullptr) continue;
    if (const auto text = special_text(root.find(name), name, file)) specials.set(name, Value(*text));
  }
  config.special_tokens_map = Value(std::move(specials));
}

void read_template_files(TokenizerConfig& config, const std::filesystem::path& folder) {
  std::error_code ignored;
  const auto put = [&](const std::string& name, const std::filesystem::path& file) {
    std::erase_if(config.templates, [&](const NamedTemplate& known) { return known.name == name; });
    config.templates.push_back({name, read_text(file), file.string()});
  };
  const auto main_file = folder / "chat_template.jinja";
  if (std::filesystem::exists(main_file, ignored)) put("default", main_file);
  const auto more = folder / "additional_chat_templates";
  if (!std::filesystem::is_directory(more, ignored)) return;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(more, ignored)) {
    if (entry.path().extension() == ".jinja") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) put(file.stem().string(), file);
}

}  // namespace primus::tokenizer
