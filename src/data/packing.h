#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"

namespace primus::data {

/// Rows in packs: pack p holds rows[offsets[p] … offsets[p + 1]), ascending.
struct Packs {
  std::vector<std::uint32_t> rows;     // every row once
  std::vector<std::uint32_t> offsets;  // (packs + 1)

  std::int64_t count() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::span<const std::uint32_t> operator[](std::int64_t pack) const {
    return std::span(rows).subspan(offsets[pack], offsets[pack + 1] - offsets[pack]);
  }
};

/// First-fit decreasing (Johnson 1973: at most 11/9 of the fewest packs plus 6/9): rows by falling length, each into
/// the first pack that has room for it. O(n log n) in time, O(n) in memory. Rows of equal length come in the order of
/// a permutation drawn from `ties`, or in their own order without one. Packs are numbered by their lowest row.
/// `lengths` (rows), each from 1 to `capacity`.
Packs pack_first_fit_decreasing(std::span<const std::int64_t> lengths, std::int64_t capacity,
                                const std::optional<Philox>& ties = std::nullopt);

}  // namespace primus::data
