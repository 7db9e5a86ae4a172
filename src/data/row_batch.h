#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/row_format.h"
#include "data/row_renderer.h"
#include "data/summary.h"
#include "data/token_set.h"

namespace primus::data {

/// One file as its rows are read.
struct RowFile {
  std::string name;
  std::uint32_t number = 0;  // for RowOrigin
  RowFormat format = RowFormat::kText;
};

/// Rows of one file on their way to a worker.
struct RowBatch {
  struct Row {
    std::size_t begin = 0;  // of `text`
    std::size_t end = 0;
    std::uint32_t row = 0;
    std::uint32_t line = 0;
  };
  std::shared_ptr<const RowFile> file;
  std::string text;
  std::vector<Row> rows;
};

/// What comes back: tokenized rows one after the other, without those that train nothing.
struct TokenBatch {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> labels;
  std::vector<std::int64_t> lengths;  // (rows)
  std::vector<RowOrigin> origins;     // (rows)
  std::int64_t rows_read = 0;
  RowNotes cut;
  RowNotes dropped;
  RowNotes without_tools;
};

/// The JSON of one row. Throws Error with the file, the line and the column where it is broken.
tokenizer::Value parse_row(std::string_view text, const std::string& file, std::uint32_t line, bool first_row);

/// The format of a file by its first row, unless `named` names one.
RowFormat format_of_file(const std::string& named, std::string_view first_row, const Columns& columns,
                         const std::string& file, std::uint32_t line);

/// Parses, checks, renders and tokenizes a batch. Throws Error for the first row that is wrong.
TokenBatch tokenize_batch(const RowBatch& batch, const RowRenderer& renderer, const Columns& columns,
                          std::int64_t vocabulary_size);

}  // namespace primus::data
