#include <optional>

#include "base/error.h"
#include "data/row_batch.h"
#include "data/row_reader.h"
#include "data/row_renderer.h"
#include "fuzz_input.h"
#include "tiny_tokenizer.h"

/// A data file, plain or compressed, as training reads it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace primus;
  using namespace primus::data;
  constexpr std::int64_t kSeqLength = 64, kVocabulary = 261;
  static const auto tokenizer = data::testing::tiny_tokenizer(data::testing::chatml());
  static const RowRenderer renderer({.seq_length = kSeqLength, .vocabulary_size = kVocabulary}, &tokenizer);
  const fuzz::MemoryFile file(data, size);
  try {
    RowReader reader(file.path());
    std::optional<RowFormat> format;
    for (RowText text; reader.next(text);) {
      const tokenizer::Value row = parse_row(text.text, "rows", text.line, text.row == 1);
      if (!format) format = find_format(row, {}, "rows:1");
      const RenderedRow rendered = renderer.render(read_example(row, *format, {}, kVocabulary, "rows:1"), "rows:1");
      const TokenRow& tokens = rendered.tokens;
      fuzz::require(tokens.ids.size() == tokens.labels.size() && tokens.ids.size() <= kSeqLength);
      for (const std::int32_t id : tokens.ids) fuzz::require(id >= 0 && id < kVocabulary);
    }
  } catch (const Error&) {
  }
  return 0;
}
