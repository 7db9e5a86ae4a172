#pragma once

#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace primus::tokenizer {

/// What "add special tokens" puts around the ids of one text.
struct PostProcessor {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
};

/// Supported: TemplateProcessing (its "single" part), ByteLevel, BertProcessing, RobertaProcessing, Sequence. Throws
/// Error with `where` on any other.
PostProcessor make_post_processor(const Value& spec, const std::string& where);

}  // namespace primus::tokenizer
