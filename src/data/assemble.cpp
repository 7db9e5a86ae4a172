#include "data/assemble.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace primus::data {

void assemble(const TokenSet& set, std::span<const std::uint32_t> rows, MicroBatch& out) {
  PRIMUS_CHECK(!rows.empty());
  std::int64_t tokens = 0, trained = 0;
  for (const std::uint32_t row : rows) {
    PRIMUS_CHECK(row < set.rows(), row, set.rows());
    tokens += set.length(row);
    trained += set.trained_tokens(row);
  }
  PRIMUS_CHECK(with_filler(tokens) <= std::numeric_limits<std::int32_t>::max(), tokens);

  out.max_seqlen = 0;
  out.ids.resize(static_cast<std::size_t>(tokens));
  out.positions.resize(static_cast<std::size_t>(tokens));
  out.cu_seqlens.clear();
  out.cu_seqlens.reserve(rows.size() + 1);
  out.trained_rows.clear();
  out.trained_rows.reserve(static_cast<std::size_t>(trained));
  out.targets.clear();
  out.targets.reserve(static_cast<std::size_t>(trained));

  std::int64_t begin = 0;
  out.cu_seqlens.push_back(0);
  for (const std::uint32_t row : rows) {
    const auto ids = set.ids(row);
    const auto length = static_cast<std::int64_t>(ids.size());
    std::copy(ids.begin(), ids.end(), out.ids.begin() + begin);
    std::iota(out.positions.begin() + begin, out.positions.begin() + begin + length, 0);
    set.append_targets(row, static_cast<std::int32_t>(begin), out.trained_rows, out.targets);
    begin += length;
    out.cu_seqlens.push_back(static_cast<std::int32_t>(begin));
    out.max_seqlen = std::max(out.max_seqlen, length);
  }
  append_filler(out);
}

void append_filler(MicroBatch& batch) {
  PRIMUS_CHECK(batch.cu_seqlens.size() > 1, batch.cu_seqlens.size());
  batch.real_tokens = static_cast<std::int64_t>(batch.ids.size());
  const std::int64_t tokens = with_filler(batch.real_tokens);
  const std::int64_t last = batch.cu_seqlens.end()[-2];
  batch.ids.resize(static_cast<std::size_t>(tokens), 0);
  batch.positions.resize(static_cast<std::size_t>(tokens));
  std::iota(batch.positions.begin() + last, batch.positions.end(), 0);
  batch.cu_seqlens.back() = static_cast<std::int32_t>(tokens);
  batch.max_seqlen = std::max(batch.max_seqlen, tokens - last);
}

}  // namespace primus::data
