#include "tokenizer/tokenizer_json.h"

#include <simdjson.h>

#include "base/error.h"
#include "tokenizer/spec.h"
#include "tokenizer/tokenizer_config.h"

namespace primus::tokenizer {
namespace {

constexpr std::int64_t kMaxId = (1 << 23) - 1;
constexpr std::size_t kMaxToken = 1 << 20;  // bytes

struct Document {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
};

Value small_part(simdjson::dom::object parent, const char* key, const std::string& file) {
  simdjson::dom::element element;
  if (parent[key].get(element) != simdjson::SUCCESS) return Value();
  return parse_json(simdjson::minify(element), fmt::format("{}: {}", file, key));
}

void read_vocabulary(simdjson::dom::object model, TokenizerFile& out, const std::string& file, std::size_t bytes) {
  simdjson::dom::object vocabulary;
  if (model["vocab"].get(vocabulary) != simdjson::SUCCESS) {
    throw bad_input("{}: model: \"vocab\" must be an object of tokens and ids", file);
  }
  out.vocabulary.reserve(vocabulary.size(), std::min<std::size_t>(bytes, vocabulary.size() * 8));
  for (const auto& [text, value] : vocabulary) {
    std::int64_t id = -1;
    if (value.get(id) != simdjson::SUCCESS || id < 0 || id > kMaxId) {
      throw bad_input("{}: model: the id of token \"{}\" must be an integer from 0 to {}", file, text, kMaxId);
    }
    if (text.size() > kMaxToken) throw bad_input("{}: model: token {} has {} bytes", file, id, text.size());
    out.vocabulary.add(text, static_cast<TokenId>(id));
  }
}

void read_merges(simdjson::dom::object model, TokenizerFile& out, const std::string& file) {
  simdjson::dom::array merges;
  if (model["merges"].get(merges) != simdjson::SUCCESS) {
    throw bad_input("{}: model: \"merges\" must be a list", file);
  }
  for (const simdjson::dom::element merge : merges) {
    std::string_view text;
    simdjson::dom::array pair;
    std::string_view left, right;
    if (merge.get(text) == simdjson::SUCCESS) {
      const std::size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        throw bad_input("{}: model: merge {} (\"{}\") must be two tokens with a space between", file, out.merges.size(),
                        text);
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.get(pair) != simdjson::SUCCESS || pair.size() != 2 || pair.at(0).get(left) != simdjson::SUCCESS ||
               pair.at(1).get(right) != simdjson::SUCCESS) {
      throw bad_input("{}: model: merge {} must be \"left right\" or [\"left\", \"right\"]", file, out.merges.size());
    }
    out.merges.emplace_back(left, right);
  }
}

void check_kind(simdjson::dom::object model, const std::string& file) {
  std::string_view type;
  simdjson::dom::element merges;
  const bool has_type = model["type"].get(type) == simdjson::SUCCESS;
  if (has_type ? type == "BPE" : model["merges"].get(merges) == simdjson::SUCCESS) return;
  throw bad_input(
      "{}: the model is {}, which is not supported; supported is BPE, byte-level (GPT-2, Llama 3, Qwen, SmolLM) or "
      "with "
      "byte fallback (Llama 2, Mistral, Gemma)",
      file, has_type ? std::string(type) : "of no named type");
}

void read_model(simdjson::dom::object root, TokenizerFile& out, const std::string& file, std::size_t bytes) {
  simdjson::dom::object model;
  if (root["model"].get(model) != simdjson::SUCCESS) throw bad_input("{}: \"model\" is missing or no object", file);
  check_kind(model, file);
  Dict options;
  for (const char* key : {"unk_token", "byte_fallback", "ignore_merges", "fuse_unk", "continuing_subword_prefix",
                          "end_of_word_suffix", "dropout"}) {
    options.set(key, small_part(model, key, file));
  }
  const Value spec(std::move(options));
  const std::string where = fmt::format("{}: model", file);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!spec::text_or(spec, key, "", where).empty()) {
      throw bad_input("{}: \"{}\" is not supported", where, key);
    }
  }
  out.unk_token = spec::text_or(spec, "unk_token", "", where);
  out.byte_fallback = spec::flag(spec, "byte_fallback", false, where);
  out.ignore_merges = spec::flag(spec, "ignore_merges", false, where);
  out.fuse_unk = spec::flag(spec, "fuse_unk", false, where);
  read_vocabulary(model, out, file, bytes);
  read_merges(model, out, file);
}

}  // namespace

TokenizerFile parse_tokenizer_json(std::string_view json, const std::string& file) {
  auto document = std::make_shared<Document>();
  const simdjson::padded_string padded(json);
  const auto error = document->parser.parse(padded).get(document->root);
  if (error != simdjson::SUCCESS) {
    throw bad_input("{}: not readable as JSON: {}", file, simdjson::error_message(error));
  }
  simdjson::dom::object root;
  if (document->root.get(root) != simdjson::SUCCESS) throw bad_input("{}: expected an object", file);
  TokenizerFile out;
  read_model(root, out, file, json.size());
  out.normalizer = small_part(root, "normalizer", file);
  out.pre_tokenizer = small_part(root, "pre_tokenizer", file);
  out.post_processor = small_part(root, "post_processor", file);
  out.decoder = small_part(root, "decoder", file);
  const Value added = small_part(root, "added_tokens", file);
  if (!added.is_null()) {
    const std::string where = fmt::format("{}: added_tokens", file);
    if (!added.is_list()) throw bad_input("{}: expected a list, found {}", where, added.kind_name());
    for (const Value& entry : added.as_list()) {
      out.added_tokens.push_back(parse_added_token(entry, spec::integer_or(entry, "id", -1, where), where));
    }
  }
  out.text = document;
  return out;
}

}  // namespace primus::tokenizer
