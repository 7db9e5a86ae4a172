#include "data/summary.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace primus::data {
namespace {

constexpr int kBarWidth = 30;

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number) {
  std::string digits = fmt::format("{}", number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

}  // namespace

void RowNotes::add(RowPlace place) {
  ++count;
  if (places.size() < kKept) places.push_back(place);
}

void RowNotes::add(const RowNotes& later) {
  count += later.count;
  for (const RowPlace& place : later.places) {
    if (places.size() < kKept) places.push_back(place);
  }
}

std::string RowNotes::text(const std::vector<std::string>& files) const {
  std::string text;
  for (const RowPlace& place : places) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : ", ", place.file < files.size() ? files[place.file] : "row",
                        place.line);
  }
  if (count > static_cast<std::int64_t>(places.size())) text += ", …";
  return text;
}

std::string DataSummary::text() const {
  const double share = tokens == 0 ? 0.0 : 100.0 * static_cast<double>(trained_tokens) / static_cast<double>(tokens);
  std::string text =
      fmt::format("{} rows, {} tokens, {} of them trained ({:.1f} %); longest row {} tokens, mean {:.0f}",
                  grouped(rows), grouped(tokens), grouped(trained_tokens), share, grouped(longest),
                  rows == 0 ? 0.0 : static_cast<double>(tokens) / static_cast<double>(rows));
  const std::int64_t most = *std::max_element(histogram.begin(), histogram.end());
  for (std::size_t b = 0; b < histogram.size(); ++b) {
    if (histogram[b] == 0) continue;
    std::string bar;
    const std::int64_t blocks = std::max<std::int64_t>(1, histogram[b] * kBarWidth / most);
    for (std::int64_t i = 0; i < blocks; ++i) bar += "█";
    const std::int64_t low = std::int64_t{1} << b;
    text += fmt::format("\n  {:>7}–{:<7} tokens {:>10} {}", low, 2 * low - 1, grouped(histogram[b]), bar);
  }
  if (cut.count > 0) {
    text += fmt::format("\n  {} longer than seq_length {} and cut at the right: {}", grouped(cut.count), seq_length,
                        cut.text(files));
  }
  if (dropped.count > 0) {
    text += fmt::format("\n  {} dropped, nothing trained within seq_length {}: {}", grouped(dropped.count), seq_length,
                        dropped.text(files));
  }
  for (const std::string& remark : remarks) text += "\n  " + remark;
  return text;
}

DataSummary summarize(const TokenSet& set) {
  DataSummary summary;
  summary.files = set.arrays().files;
  summary.rows = set.rows();
  summary.rows_read = set.rows();
  for (std::uint32_t row = 0; row < set.rows(); ++row) {
    const std::int64_t length = set.length(row);
    summary.tokens += length;
    summary.trained_tokens += set.trained_tokens(row);
    summary.longest = std::max(summary.longest, length);
    if (length > 0)
      ++summary.histogram[static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(length))) - 1];
  }
  return summary;
}

}  // namespace primus::data
