#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/row_format.h"
#include "data/token_set.h"

namespace primus::data {

/// A line of a file, both as RowOrigin counts them.
struct RowPlace {
  std::uint32_t file = 0;
  std::uint32_t line = 0;
  bool operator==(const RowPlace&) const = default;
};

/// Rows with something to tell: how many, and where the first few are.
struct RowNotes {
  static constexpr std::size_t kKept = 5;

  std::int64_t count = 0;
  std::vector<RowPlace> places;  // at most kKept

  void add(RowPlace place);
  /// Appends notes of later rows.
  void add(const RowNotes& later);
  /// "train.jsonl:17, train.jsonl:19, …"
  std::string text(const std::vector<std::string>& files) const;
};

/// What a data set is, told before training.
struct DataSummary {
  std::int64_t rows = 0;  // that are trained on
  std::int64_t tokens = 0;
  std::int64_t trained_tokens = 0;  // targets
  std::int64_t longest = 0;         // tokens of the longest row
  /// histogram[b]: rows of 2^b to 2^(b + 1) - 1 tokens.
  std::array<std::int64_t, 32> histogram{};
  std::int64_t rows_read = 0;  // with those that were dropped
  std::int64_t seq_length = 0;
  RowNotes cut;                    // longer than seq_length: the right end is gone
  RowNotes dropped;                // nothing trained within seq_length
  RowNotes without_tools;          // with tools or tool calls that the chat template does not write
  std::vector<RowFormat> formats;  // of the files, each once
  std::vector<std::string> remarks;
  std::vector<std::string> files;  // that places point into

  /// Several lines, without a newline at the end.
  std::string text() const;
};

/// Everything of DataSummary that can be counted from the set itself.
DataSummary summarize(const TokenSet& set);

}  // namespace primus::data
