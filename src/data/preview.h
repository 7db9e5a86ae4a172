#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/load.h"
#include "data/row_format.h"

namespace primus::data {

/// A row as the model would see it, with what would be cut off.
struct PreviewRow {
  std::string place;  // file:line
  RowFormat format = RowFormat::kText;
  TokenRow tokens;        // whole
  std::int64_t kept = 0;  // tokens within seq_length; those behind are cut off
  /// Targets within seq_length; a row without any is dropped.
  std::int64_t trained_tokens = 0;
};

/// The first `rows` rows of settings.paths, in file order. Reads no more than these. Throws Error as `load` does.
std::vector<PreviewRow> preview(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer, std::int64_t rows);

}  // namespace primus::data
