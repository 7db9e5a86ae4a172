#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace primus::data {

/// The label of a token that is not trained, as in Hugging Face data.
constexpr std::int32_t kNotTrained = -100;

/// Where a row was read: files[file], row `row` of that file (from 1, blank lines not counted), which begins on line
/// `line` (from 1).
struct RowOrigin {
  std::uint32_t file = 0;
  std::uint32_t row = 0;
  std::uint32_t line = 0;
  bool operator==(const RowOrigin&) const = default;
};

/// The flat arrays of tokenized rows; a file that is mapped into memory has the same ones.
struct TokenArrays {
  std::span<const std::int32_t> ids;           // (tokens)
  std::span<const std::int64_t> offsets;       // (rows + 1): row r is ids[offsets[r] … offsets[r + 1])
  std::span<const std::uint64_t> trained;      // (ceil(tokens / 64)): bit i: token i is a trained label
  std::span<const std::int32_t> labels;        // (tokens), or empty when every trained label is the token itself
  std::span<const std::int32_t> target_count;  // (rows): trained tokens of a row, its first token never being one
  std::span<const RowOrigin> origins;          // (rows)
  std::span<const std::int64_t> source_rows;   // (sources + 1): rows of source s are source_rows[s] … [s + 1]
  std::vector<std::string> files;
};

/// Tokenized rows with what of them is trained. Immutable; copies share the arrays. `length`, `ids` and so on take a
/// row number from 0 to rows() - 1; another one is a bug that is not checked.
class TokenSet {
 public:
  TokenSet();
  /// `owner` keeps alive what the arrays point into.
  TokenSet(TokenArrays arrays, std::shared_ptr<const void> owner);

  /// The given rows of this set as a set of their own, in that order; the arrays are shared.
  TokenSet subset(std::vector<std::uint32_t> rows) const;

  std::int64_t rows() const { return rows_; }
  bool empty() const { return rows_ == 0; }
  std::int64_t length(std::uint32_t row) const {
    const std::size_t r = at(row);
    return arrays_->offsets[r + 1] - arrays_->offsets[r];
  }
  std::span<const std::int32_t> ids(std::uint32_t row) const;
  /// What position `t` of the row must be when it is predicted from t - 1, or kNotTrained.
  std::int32_t label(std::uint32_t row, std::int64_t t) const;
  /// How many positions of the row have a trained next token: what this row adds to the normaliser of a step.
  std::int32_t trained_tokens(std::uint32_t row) const { return arrays_->target_count[at(row)]; }
  /// For every trained label at t >= 1 of the row: begin + t - 1 to `trained_rows`, the label to `targets`. Appends.
  void append_targets(std::uint32_t row, std::int32_t begin, std::vector<std::int32_t>& trained_rows,
                      std::vector<std::int32_t>& targets) const;

  int sources() const { return static_cast<int>(arrays_->source_rows.size()) - 1; }
  int source(std::uint32_t row) const;
  const RowOrigin& origin(std::uint32_t row) const { return arrays_->origins[at(row)]; }
  /// "train.jsonl:17".
  std::string place(std::uint32_t row) const;

  /// Sums over all rows.
  std::int64_t total_tokens() const;
  std::int64_t total_trained_tokens() const;
  std::int64_t longest() const;

  const TokenArrays& arrays() const { return *arrays_; }

 private:
  std::size_t at(std::uint32_t row) const { return chosen_ ? (*chosen_)[row] : row; }

  std::shared_ptr<const TokenArrays> arrays_;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const std::vector<std::uint32_t>> chosen_;  // null: all rows
  std::int64_t rows_ = 0;
};

/// A row on its way into a TokenSet.
struct TokenRow {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> labels;  // as long as ids: the label, or kNotTrained
  bool lacks_tools = false;          // the chat template wrote nothing of the row's tools, or of its tool calls
};

/// Where rows go as they are tokenized.
class RowSink {
 public:
  virtual ~RowSink() = default;
  /// The rows that follow come from the next source. Call it before the first row of each.
  virtual void begin_source() = 0;
  virtual void add(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                   const RowOrigin& origin) = 0;
  void add(const TokenRow& row, const RowOrigin& origin) { add(row.ids, row.labels, origin); }
};

/// Collects rows in memory. Its arrays grow in place, so that the peak is the size of the set.
class TokenSetBuilder : public RowSink {
 public:
  TokenSetBuilder();
  TokenSetBuilder(TokenSetBuilder&&) noexcept;
  TokenSetBuilder& operator=(TokenSetBuilder&&) noexcept;
  ~TokenSetBuilder() override;

  void begin_source() override;
  /// The number of `name` for RowOrigin::file.
  std::uint32_t add_file(std::string name);
  using RowSink::add;
  void add(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels, const RowOrigin& origin) override;
  /// The set; the builder is empty afterwards.
  TokenSet finish();

 private:
  struct Storage;
  std::unique_ptr<Storage> storage_;
};

}  // namespace primus::data
