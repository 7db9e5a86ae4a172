#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "data/assemble.h"
#include "data/batch_plan.h"

namespace primus::data {
namespace {

void check(const TokenSet& set, const EvalPlanSettings& s) {
  if (set.empty()) throw bad_input("the validation set has no rows");
  if (s.eval_iters < 1) throw bad_input("eval_iters ({}) must be at least 1 to evaluate", s.eval_iters);
  if (s.global_batch_size < 1 || s.micro_batch_size < 1 || s.seq_length < 1) {
    throw bad_input("global_batch_size ({}), micro_batch_size ({}) and seq_length ({}) must be at least 1",
                    s.global_batch_size, s.micro_batch_size, s.seq_length);
  }
  PRIMUS_CHECK(s.data_parallel_size >= 1 && s.data_parallel_rank >= 0 && s.data_parallel_rank < s.data_parallel_size,
               s.data_parallel_rank, s.data_parallel_size);
}

Packs make_units(const TokenSet& set, const EvalPlanSettings& s) {
  const auto rows = static_cast<std::size_t>(set.rows());
  if (s.packed) {
    std::vector<std::int64_t> lengths(rows);
    for (std::uint32_t row = 0; row < rows; ++row) lengths[row] = set.length(row);
    return pack_first_fit_decreasing(lengths, s.seq_length);
  }
  Packs units{.rows = std::vector<std::uint32_t>(rows), .offsets = std::vector<std::uint32_t>(rows + 1)};
  std::iota(units.rows.begin(), units.rows.end(), 0U);
  std::iota(units.offsets.begin(), units.offsets.end(), 0U);
  return units;
}

}  // namespace

EvalPlan::EvalPlan(TokenSet set, const EvalPlanSettings& settings) : set_(std::move(set)) {
  check(set_, settings);
  units_ = make_units(set_, settings);
  micro_batch_size_ = settings.micro_batch_size;
  units_evaluated_ = std::min(units_.count(), settings.eval_iters * settings.global_batch_size);
  for (std::int64_t first = 0; first < units_evaluated_; first += micro_batch_size_) {
    const std::span<const std::uint32_t> rows = rows_from(first);
    std::int64_t tokens = 0, trained = 0;
    for (const std::uint32_t row : rows) {
      tokens += set_.length(row);
      trained += set_.trained_tokens(row);
      bounds_.max_seqlen = std::max(bounds_.max_seqlen, set_.length(row));
    }
    total_rows_ += static_cast<std::int64_t>(rows.size());
    trained_tokens_ += trained;
    bounds_.tokens = std::max(bounds_.tokens, with_filler(tokens));
    bounds_.documents = std::max(bounds_.documents, static_cast<std::int64_t>(rows.size()));
    bounds_.trained_rows = std::max(bounds_.trained_rows, trained);
    if (first / micro_batch_size_ % settings.data_parallel_size == settings.data_parallel_rank) own_.push_back(first);
  }
  bounds_.max_seqlen += kMostFiller;
}

std::span<const std::uint32_t> EvalPlan::rows_from(std::int64_t unit) const {
  const std::int64_t end = std::min(unit + micro_batch_size_, units_evaluated_);
  return std::span(units_.rows).subspan(units_.offsets[unit], units_.offsets[end] - units_.offsets[unit]);
}

std::span<const std::uint32_t> EvalPlan::rows(std::int64_t micro_batch) const {
  PRIMUS_CHECK(micro_batch >= 0 && micro_batch < micro_batches(), micro_batch, micro_batches());
  return rows_from(own_[static_cast<std::size_t>(micro_batch)]);
}

void EvalPlan::assemble(std::int64_t micro_batch, MicroBatch& out) const {
  data::assemble(set_, rows(micro_batch), out);
}

}  // namespace primus::data
