#pragma once

#include <cstdint>
#include <functional>

namespace primus::checkpoint {

/// body(begin, end) for disjoint ranges that cover [0, count), on up to all cores when `work` (bytes, or multiply-adds)
/// is worth threads. Ranges begin at multiples of `step`. An exception of a body is thrown on.
void parallel_ranges(std::int64_t count, std::int64_t work, const std::function<void(std::int64_t, std::int64_t)>& body,
                     std::int64_t step = 1);

}  // namespace primus::checkpoint
