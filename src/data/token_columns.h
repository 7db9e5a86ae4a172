#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "data/token_set.h"

namespace primus::data {

/// The arrays of TokenArrays while rows come in. `Array<T>` has append(span), append_all(another), push_back and size.
template <template <typename> typename Array>
struct TokenColumns {
  Array<std::int32_t> ids;
  Array<std::int64_t> offsets;
  Array<std::uint64_t> trained;
  Array<std::int32_t> labels;
  Array<std::int32_t> target_count;
  Array<RowOrigin> origins;
  Array<std::int64_t> source_rows;
  std::uint64_t next_trained = 0;  // the bits behind the last whole word of `trained`

  std::int64_t rows() const { return static_cast<std::int64_t>(target_count.size()); }

  void begin_source() { source_rows.push_back(rows()); }

  void add(std::span<const std::int32_t> row_ids, std::span<const std::int32_t> row_labels, const RowOrigin& origin) {
    PRIMUS_CHECK(row_ids.size() == row_labels.size(), row_ids.size(), row_labels.size());
    if (source_rows.size() == 0) begin_source();
    if (offsets.size() == 0) offsets.push_back(0);
    std::int32_t targets = 0;
    bool differs = false;
    std::size_t bit = ids.size() % 64;
    for (std::size_t t = 0; t < row_ids.size(); ++t) {
      if (row_labels[t] != kNotTrained) {
        next_trained |= std::uint64_t{1} << bit;
        targets += t > 0 ? 1 : 0;
        differs |= row_labels[t] != row_ids[t];
      }
      if (++bit < 64) continue;
      trained.push_back(next_trained);
      next_trained = 0;
      bit = 0;
    }
    const bool had_labels = labels.size() > 0;
    if (differs && !had_labels) labels.append_all(ids);
    if (differs || had_labels) labels.append(row_labels);
    ids.append(row_ids);
    target_count.push_back(targets);
    origins.push_back(origin);
    offsets.push_back(static_cast<std::int64_t>(ids.size()));
  }

  /// Nothing may be added any more.
  void finish() {
    if (ids.size() % 64 != 0) trained.push_back(next_trained);
    if (offsets.size() == 0) offsets.push_back(0);
    if (source_rows.size() == 0) begin_source();
    source_rows.push_back(rows());
  }
};

}  // namespace primus::data
