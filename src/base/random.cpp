#include "base/random.h"

#include <numeric>

namespace primus {

std::vector<std::uint32_t> permutation(std::uint32_t count, const Philox& random) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  for (std::uint32_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i, i)]);
  return order;
}

}  // namespace primus
