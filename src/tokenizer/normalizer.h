#pragma once

#include <memory>
#include <string>

#include "tokenizer/aligned_text.h"
#include "tokenizer/value.h"

namespace primus::tokenizer {

/// One step (or a sequence) of tokenizer.json's "normalizer". Const use is safe from many threads.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// Null for a null `spec`. Supported: NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Sequence. Throws Error
/// with `where` on any other.
std::unique_ptr<Normalizer> make_normalizer(const Value& spec, const std::string& where);

}  // namespace primus::tokenizer
