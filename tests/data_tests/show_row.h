#pragma once

#include <ostream>
#include <string>
#include <utility>

#include "data/row_renderer.h"
#include "tiny_tokenizer.h"

namespace primus::data::testing {

/// What a row becomes: the text with '{' for <|im_start|> and '}' for <|im_end|>, and the same with '.' for every token
/// that is not trained (line ends stay, so that a test can be read).
struct Shown {
  std::string text;
  std::string trained;
  bool operator==(const Shown&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Shown& shown) {
  return out << "\n--- text\n" << shown.text << "\n--- trained\n" << shown.trained << "\n";
}

inline Shown show(const RenderedRow& row) {
  Shown shown;
  for (std::size_t t = 0; t < row.tokens.ids.size(); ++t) {
    const std::string token = tiny_text({row.tokens.ids[t]});
    shown.text += token;
    const bool trained = row.tokens.labels[t] != kNotTrained;
    shown.trained += trained ? token : token == "\n" ? "\n" : ".";
  }
  return shown;
}

inline RenderedRow render(const tokenizer::Tokenizer& tokenizer, const std::string& row,
                          RowRenderer::Settings settings = {}) {
  const auto value = tokenizer::parse_json(row);
  const Example example = read_example(value, find_format(value, {}, "f:1"), {}, 0, "f:1");
  return RowRenderer(std::move(settings), &tokenizer).render(example, "f:1");
}

}  // namespace primus::data::testing
