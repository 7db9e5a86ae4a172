#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/aligned_text.h"
#include "tokenizer/value.h"

namespace primus::tokenizer {

/// A stretch of text between added tokens, and the words it is cut into: ascending, not overlapping, gaps are dropped.
struct Words {
  struct Span {
    std::uint32_t begin;
    std::uint32_t end;
  };
  AlignedText text;
  std::vector<Span> spans;
};

/// One step (or a sequence) of tokenizer.json's "pre_tokenizer". Const use is safe from many threads.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Words& words) const = 0;
};

struct PreTokenizerSpec {
  std::unique_ptr<PreTokenizer> step;  // null: words stay as they are
  bool byte_level = false;             // words are to be read as bytes, not characters
};

/// Supported: Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation, Sequence. Throws Error
/// with `where` on any other.
PreTokenizerSpec make_pre_tokenizer(const Value& spec, const std::string& where);

}  // namespace primus::tokenizer
