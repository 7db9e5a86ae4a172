#include "base/error.h"
#include "fuzz_input.h"
#include "tokenizer/tokenizer.h"

/// A tokenizer.json, and a text for it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace primus;
  const auto [json, text] = fuzz::two_texts(data, size);
  try {
    const auto tokenizer = tokenizer::Tokenizer::parse(json);
    for (const std::string_view sample : {text, std::string_view("Hello wörld, 123 \n\n <|im_end|>日本")}) {
      const tokenizer::Encoding encoding = tokenizer.encode_with_offsets(sample, true);
      fuzz::require(encoding.ids.size() == encoding.offsets.size());
      for (const tokenizer::ByteSpan span : encoding.offsets) {
        fuzz::require(span.begin <= span.end && span.end <= sample.size());
      }
      tokenizer.decode(encoding.ids);
      fuzz::require(tokenizer.encode(sample, true) == encoding.ids);
    }
  } catch (const Error&) {
  }
  return 0;
}
