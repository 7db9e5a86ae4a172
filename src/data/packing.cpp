#include "data/packing.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace primus::data {
namespace {

/// The room left in each pack, and in each node of a binary tree above them the most room below it.
class RoomTree {
 public:
  RoomTree(std::size_t packs, std::uint32_t capacity)
      : leaves_(std::bit_ceil(std::max<std::size_t>(packs, 1))), most_(2 * leaves_, capacity) {}

  /// Takes `length` from the first pack that has room for it and returns its number.
  std::size_t take(std::uint32_t length) {
    std::size_t node = 1;
    while (node < leaves_) {
      node *= 2;
      if (most_[node] < length) ++node;
    }
    const std::size_t pack = node - leaves_;
    most_[node] -= length;
    for (node /= 2; node > 0; node /= 2) {
      const std::uint32_t most = std::max(most_[2 * node], most_[2 * node + 1]);
      if (most_[node] == most) break;
      most_[node] = most;
    }
    return pack;
  }

 private:
  std::size_t leaves_;
  std::vector<std::uint32_t> most_;  // node 1 is the root, the packs are the last leaves_ nodes
};

std::vector<std::uint32_t> by_falling_length(std::span<const std::int64_t> lengths, const std::optional<Philox>& ties) {
  const auto count = static_cast<std::uint32_t>(lengths.size());
  std::vector<std::uint32_t> order(count);
  if (ties) {
    order = permutation(count, *ties);
  } else {
    std::iota(order.begin(), order.end(), 0U);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return lengths[a] > lengths[b]; });
  return order;
}

}  // namespace

Packs pack_first_fit_decreasing(std::span<const std::int64_t> lengths, std::int64_t capacity,
                                const std::optional<Philox>& ties) {
  PRIMUS_CHECK(lengths.size() <= std::numeric_limits<std::uint32_t>::max(), lengths.size());
  PRIMUS_CHECK(capacity >= 1 && capacity <= std::numeric_limits<std::int32_t>::max(), capacity);
  for (const std::int64_t length : lengths) PRIMUS_CHECK(length >= 1 && length <= capacity, length, capacity);

  RoomTree room(lengths.size(), static_cast<std::uint32_t>(capacity));
  std::vector<std::uint32_t> pack_of(lengths.size());
  for (const std::uint32_t row : by_falling_length(lengths, ties)) {
    pack_of[row] = static_cast<std::uint32_t>(room.take(static_cast<std::uint32_t>(lengths[row])));
  }

  // Number the packs by their lowest row, then gather the rows of each.
  constexpr std::uint32_t kUnseen = std::numeric_limits<std::uint32_t>::max();
  std::vector<std::uint32_t> number(lengths.size(), kUnseen);
  Packs packs;
  packs.offsets.push_back(0);
  for (std::uint32_t& pack : pack_of) {
    if (number[pack] == kUnseen) {
      number[pack] = static_cast<std::uint32_t>(packs.offsets.size() - 1);
      packs.offsets.push_back(0);
    }
    pack = number[pack];
    ++packs.offsets[pack + 1];
  }
  std::partial_sum(packs.offsets.begin(), packs.offsets.end(), packs.offsets.begin());
  packs.rows.resize(lengths.size());
  std::vector<std::uint32_t> next(packs.offsets.begin(), packs.offsets.end() - 1);
  for (std::uint32_t row = 0; row < pack_of.size(); ++row) packs.rows[next[pack_of[row]]++] = row;
  return packs;
}

}  // namespace primus::data
