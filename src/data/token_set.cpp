#include "data/token_set.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/error.h"
#include "data/growing_array.h"
#include "data/token_columns.h"

namespace primus::data {
namespace {

constexpr std::int64_t kNoOffset[] = {0};

bool is_trained(const TokenArrays& arrays, std::int64_t token) {
  return ((arrays.trained[static_cast<std::size_t>(token / 64)] >> (token % 64)) & 1U) != 0;
}

}  // namespace

TokenSet::TokenSet() : TokenSet(TokenArrays{.offsets = kNoOffset, .source_rows = kNoOffset}, nullptr) {}

TokenSet::TokenSet(TokenArrays arrays, std::shared_ptr<const void> owner)
    : arrays_(std::make_shared<const TokenArrays>(std::move(arrays))), owner_(std::move(owner)) {
  PRIMUS_CHECK(!arrays_->offsets.empty() && !arrays_->source_rows.empty());
  rows_ = static_cast<std::int64_t>(arrays_->offsets.size()) - 1;
  PRIMUS_CHECK(rows_ <= std::numeric_limits<std::uint32_t>::max(), rows_);
  PRIMUS_CHECK(arrays_->offsets.back() == static_cast<std::int64_t>(arrays_->ids.size()), arrays_->offsets.back(),
               arrays_->ids.size());
}

TokenSet TokenSet::subset(std::vector<std::uint32_t> rows) const {
  for (std::uint32_t& row : rows) {
    PRIMUS_CHECK(row < rows_, row, rows_);
    row = static_cast<std::uint32_t>(at(row));
  }
  TokenSet part = *this;
  part.rows_ = static_cast<std::int64_t>(rows.size());
  part.chosen_ = std::make_shared<const std::vector<std::uint32_t>>(std::move(rows));
  return part;
}

std::span<const std::int32_t> TokenSet::ids(std::uint32_t row) const {
  const std::size_t r = at(row);
  const std::int64_t begin = arrays_->offsets[r];
  return arrays_->ids.subspan(static_cast<std::size_t>(begin),
                              static_cast<std::size_t>(arrays_->offsets[r + 1] - begin));
}

std::int32_t TokenSet::label(std::uint32_t row, std::int64_t t) const {
  const std::int64_t token = arrays_->offsets[at(row)] + t;
  if (!is_trained(*arrays_, token)) return kNotTrained;
  return (arrays_->labels.empty() ? arrays_->ids : arrays_->labels)[static_cast<std::size_t>(token)];
}

void TokenSet::append_targets(std::uint32_t row, std::int32_t begin, std::vector<std::int32_t>& trained_rows,
                              std::vector<std::int32_t>& targets) const {
  const std::size_t r = at(row);
  const std::int64_t first = arrays_->offsets[r] + 1, last = arrays_->offsets[r + 1];
  const std::span<const std::int32_t> labels = arrays_->labels.empty() ? arrays_->ids : arrays_->labels;
  // Position t predicts token t + 1, which is flat token `offset + t + 1`.
  const std::int64_t to_position = begin - first;
  for (std::int64_t token = first; token < last;) {
    const std::int64_t bit = token % 64;
    const std::int64_t in_word = std::min<std::int64_t>(64 - bit, last - token);
    std::uint64_t word = arrays_->trained[static_cast<std::size_t>(token / 64)] >> bit;
    if (in_word < 64) word &= (std::uint64_t{1} << in_word) - 1;
    for (; word != 0; word &= word - 1) {
      const std::int64_t trained = token + std::countr_zero(word);
      trained_rows.push_back(static_cast<std::int32_t>(trained + to_position));
      targets.push_back(labels[static_cast<std::size_t>(trained)]);
    }
    token += in_word;
  }
}

int TokenSet::source(std::uint32_t row) const {
  const auto& begins = arrays_->source_rows;
  const auto after = std::upper_bound(begins.begin(), begins.end(), static_cast<std::int64_t>(at(row)));
  return static_cast<int>(after - begins.begin()) - 1;
}

std::string TokenSet::place(std::uint32_t row) const {
  const RowOrigin& from = origin(row);
  return fmt::format("{}:{}", from.file < arrays_->files.size() ? arrays_->files[from.file] : "row", from.line);
}

std::int64_t TokenSet::total_tokens() const {
  if (!chosen_) return static_cast<std::int64_t>(arrays_->ids.size());
  std::int64_t sum = 0;
  for (std::uint32_t row = 0; row < rows_; ++row) sum += length(row);
  return sum;
}

std::int64_t TokenSet::total_trained_tokens() const {
  std::int64_t sum = 0;
  for (std::uint32_t row = 0; row < rows_; ++row) sum += trained_tokens(row);
  return sum;
}

std::int64_t TokenSet::longest() const {
  std::int64_t longest = 0;
  for (std::uint32_t row = 0; row < rows_; ++row) longest = std::max(longest, length(row));
  return longest;
}

struct TokenSetBuilder::Storage {
  TokenColumns<GrowingArray> columns;
  std::vector<std::string> files;
};

TokenSetBuilder::TokenSetBuilder() : storage_(std::make_unique<Storage>()) {}
TokenSetBuilder::TokenSetBuilder(TokenSetBuilder&&) noexcept = default;
TokenSetBuilder& TokenSetBuilder::operator=(TokenSetBuilder&&) noexcept = default;
TokenSetBuilder::~TokenSetBuilder() = default;

void TokenSetBuilder::begin_source() { storage_->columns.begin_source(); }

std::uint32_t TokenSetBuilder::add_file(std::string name) {
  storage_->files.push_back(std::move(name));
  return static_cast<std::uint32_t>(storage_->files.size() - 1);
}

void TokenSetBuilder::add(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                          const RowOrigin& origin) {
  storage_->columns.add(ids, labels, origin);
}

TokenSet TokenSetBuilder::finish() {
  const std::shared_ptr<Storage> owner = std::move(storage_);
  *this = TokenSetBuilder();
  owner->columns.finish();
  const TokenColumns<GrowingArray>& columns = owner->columns;
  return TokenSet({.ids = columns.ids.view(),
                   .offsets = columns.offsets.view(),
                   .trained = columns.trained.view(),
                   .labels = columns.labels.view(),
                   .target_count = columns.target_count.view(),
                   .origins = columns.origins.view(),
                   .source_rows = columns.source_rows.view(),
                   .files = owner->files},
                  owner);
}

}  // namespace primus::data
