#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/bpe.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace primus::tokenizer {

using MergeList = std::vector<std::pair<std::string_view, std::string_view>>;

/// tokenizer.json taken apart: the small components as values, the large tables in their own form.
struct TokenizerFile {
  Value normalizer, pre_tokenizer, post_processor, decoder;
  std::vector<AddedToken> added_tokens;
  Vocabulary vocabulary;  // of the model, without the added tokens
  MergeList merges;
  std::string unk_token;
  bool byte_fallback = false;
  bool ignore_merges = false;
  bool fuse_unk = false;
  std::shared_ptr<void> text;  // owns what `merges` points into
};

/// Throws Error with `file`, the key, and, for a model of another kind, the kinds that are supported.
TokenizerFile parse_tokenizer_json(std::string_view json, const std::string& file);

}  // namespace primus::tokenizer
