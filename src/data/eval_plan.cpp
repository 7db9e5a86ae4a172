#include <algorithm>

#include "base/error.h"
#include "data/assemble.h"
#include "data/batch_plan.h"

namespace primus::data {

EvalPlan::EvalPlan(TokenSet set, const EvalPlanSettings& settings) : set_(std::move(set)) {
  const EvalPlanSettings& s = settings;
  if (set_.empty()) throw bad_input("the validation set has no rows");
  if (s.eval_iters < 0) throw bad_input("eval_iters ({}) must be at least 0 (0: the whole set)", s.eval_iters);
  if (s.global_batch_size < 1 || s.micro_batch_size < 1 || s.seq_length < 1) {
    throw bad_input("global_batch_size ({}), micro_batch_size ({}) and seq_length ({}) must be at least 1",
                    s.global_batch_size, s.micro_batch_size, s.seq_length);
  }
  PRIMUS_CHECK(s.data_parallel_size >= 1 && s.data_parallel_rank >= 0 && s.data_parallel_rank < s.data_parallel_size,
               s.data_parallel_rank, s.data_parallel_size);
  total_rows_ = set_.rows();
  if (s.eval_iters > 0) total_rows_ = std::min(total_rows_, s.eval_iters * s.global_batch_size);

  const std::int64_t capacity = s.micro_batch_size * s.seq_length;
  const auto end = static_cast<std::uint32_t>(total_rows_);
  std::int64_t number = 0;
  for (std::uint32_t row = 0; row < end;) {
    Range range{row, row};
    std::int64_t tokens = 0, trained = 0;
    while (range.end < end) {
      const std::int64_t length = set_.length(range.end);
      const std::int64_t rows = range.end - range.begin;
      if (rows > 0 && (s.packed ? tokens + length > capacity : rows == s.micro_batch_size)) break;
      tokens += length;
      trained += set_.trained_tokens(range.end);
      bounds_.max_seqlen = std::max(bounds_.max_seqlen, length);
      ++range.end;
    }
    row = range.end;
    trained_tokens_ += trained;
    bounds_.tokens = std::max(bounds_.tokens, (tokens + kTokenMultiple - 1) / kTokenMultiple * kTokenMultiple);
    bounds_.documents = std::max<std::int64_t>(bounds_.documents, range.end - range.begin + 1);
    bounds_.trained_rows = std::max(bounds_.trained_rows, trained);
    if (number++ % s.data_parallel_size == s.data_parallel_rank) own_.push_back(range);
  }
  bounds_.max_seqlen = std::max(bounds_.max_seqlen, kTokenMultiple - 1);
}

std::vector<std::uint32_t> EvalPlan::rows(std::int64_t micro_batch) const {
  PRIMUS_CHECK(micro_batch >= 0 && micro_batch < micro_batches(), micro_batch, micro_batches());
  const Range range = own_[static_cast<std::size_t>(micro_batch)];
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = range.begin; row < range.end; ++row) rows.push_back(row);
  return rows;
}

void EvalPlan::assemble(std::int64_t micro_batch, MicroBatch& out) const {
  data::assemble(set_, rows(micro_batch), out);
}

}  // namespace primus::data
