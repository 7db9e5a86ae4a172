#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace primus::data::testing {

/// A byte-level tokenizer whose ids are the bytes, with special tokens behind them and one merge: " Y".
constexpr std::int32_t kImStart = 256, kImEnd = 257, kEnd = 258, kBegin = 259, kSpaceY = 260;

/// Appends a code point as UTF-8, as JSON wants it.
inline std::string json_char(std::uint32_t code) {
  if (code == '"' || code == '\\') return std::string("\\") + static_cast<char>(code);
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

/// `with_begin`: the tokenizer puts <s> in front. `config` is tokenizer_config.json.
inline tokenizer::Tokenizer tiny_tokenizer(const std::string& chat_template_json = "", bool with_begin = false) {
  std::string vocab;
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {  // GPT-2's printable stand-ins for bytes
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    vocab += "\"" + json_char(printable ? byte : next++) + "\": " + std::to_string(byte) + ", ";
  }
  vocab += "\"ĠY\": 260";
  std::string added;
  const char* const special[] = {"<|im_start|>", "<|im_end|>", "<|end|>", "<s>"};
  for (int i = 0; i < 4; ++i) {
    added += std::string(i > 0 ? ", " : "") + R"({"id": )" + std::to_string(256 + i) + R"(, "content": ")" +
             special[i] +
             R"(", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})";
  }
  const std::string post = with_begin ? R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [259], "tokens": ["<s>"]}}})"
                                      : "null";
  const std::string json = R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [)" + added +
                           R"(], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
      "trim_offsets": true, "use_regex": true}, "post_processor": )" +
                           post + R"(, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
      "use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null,
      "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
      "vocab": {)" + vocab +
                           R"(}, "merges": ["Ġ Y"]}})";
  std::string config = R"({"eos_token": "<|end|>", "bos_token": "<s>")";
  if (!chat_template_json.empty()) config += R"(, "chat_template": )" + chat_template_json;
  return tokenizer::Tokenizer::parse(json, config + "}");
}

/// ChatML: "<|im_start|>role\ncontent<|im_end|>\n" for each message.
inline std::string chatml() {
  return R"("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %})"
         R"({% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")";
}

/// The same with {% generation %} around what the assistant says.
inline std::string chatml_with_generation() {
  return R"("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %})"
         R"({% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }})"
         R"({% endif %}{{ '\\n' }}{% endfor %})"
         R"({% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")";
}

/// Ids of a text in which the special tokens stand as '{' <|im_start|>, '}' <|im_end|>, '^' <|end|>, '~' <s>.
inline std::vector<std::int32_t> tiny_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  for (const char c : text) {
    switch (c) {
      case '{':
        ids.push_back(kImStart);
        break;
      case '}':
        ids.push_back(kImEnd);
        break;
      case '^':
        ids.push_back(kEnd);
        break;
      case '~':
        ids.push_back(kBegin);
        break;
      default:
        ids.push_back(static_cast<unsigned char>(c));
    }
  }
  return ids;
}

/// Ids back to a text as tiny_ids takes it.
inline std::string tiny_text(const std::vector<std::int32_t>& ids) {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id == kSpaceY) {
      text += "[ Y]";
    } else {
      text += id < 256 ? static_cast<char>(id) : "{}^~"[id - 256];
    }
  }
  return text;
}

}  // namespace primus::data::testing
