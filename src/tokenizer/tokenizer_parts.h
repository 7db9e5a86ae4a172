#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/vocabulary.h"

namespace primus::tokenizer {

struct Tokenizer::Parts {
  std::string name;
  TokenizerConfig config;
  std::string fingerprint;

  Vocabulary vocabulary;  // the model's and the added tokens
  std::vector<AddedToken> added;
  std::unordered_map<TokenId, std::size_t> added_index;  // id -> place in `added`
  AddedTokenMatcher in_text;                             // added tokens that are looked for before normalization
  AddedTokenMatcher in_normalized;                       // and those after it

  std::unique_ptr<Normalizer> normalizer;
  PreTokenizerSpec pre_tokenizer;
  std::unique_ptr<Bpe> model;
  PostProcessor post_processor;
  std::unique_ptr<Decoder> decoder;

  Decoder::Token token(TokenId id) const;
  const AddedToken* find_added(TokenId id) const;
};

}  // namespace primus::tokenizer
