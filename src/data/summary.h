#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/token_set.h"

namespace primus::data {

/// Rows with something to tell: how many, and where the first few are ("train.jsonl:17").
struct RowNotes {
  static constexpr std::size_t kKept = 5;

  std::int64_t count = 0;
  std::vector<std::string> places;  // at most kKept

  void add(std::string place);
  /// Appends notes of later rows.
  void add(const RowNotes& later);
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
  RowNotes cut;      // longer than seq_length: the right end is gone
  RowNotes dropped;  // nothing trained within seq_length
  std::vector<std::string> remarks;

  /// Several lines, without a newline at the end.
  std::string text() const;
};

/// Everything of DataSummary that can be counted from the set itself.
DataSummary summarize(const TokenSet& set);

}  // namespace primus::data
