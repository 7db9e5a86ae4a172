#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace primus {

/// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a pure function of
/// (seed, stream, counter), so that any element of any tensor can be drawn alone, on every device alike.
struct Philox {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  /// Four independent 32-bit words for counter `block`.
  std::array<std::uint32_t, 4> block(std::uint64_t block) const {
    std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
    std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
    std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = 0xD2511F53ULL * c0, p1 = 0xCD9E8D57ULL * c2;
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<std::uint32_t>(p1);
      c3 = static_cast<std::uint32_t>(p0);
      c0 = n0;
      c2 = n2;
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    return {c0, c1, c2, c3};
  }

  std::uint32_t word(std::uint64_t index) const { return block(index / 4)[index % 4]; }

  /// Uniform in [0, 1) with 24 bits.
  float uniform(std::uint64_t index) const { return static_cast<float>(word(index) >> 8) * 0x1p-24F; }

  /// Standard normal number `index` (Box-Muller over the pair that holds it).
  float normal(std::uint64_t index) const {
    const auto words = block(index / 2);
    const double u1 = (static_cast<double>(words[0]) + 1.0) * 0x1p-32;  // (0, 1]
    const double u2 = static_cast<double>(words[1]) * 0x1p-32;
    const double radius = std::sqrt(-2.0 * std::log(u1));
    const double angle = 6.283185307179586 * u2;
    return static_cast<float>(index % 2 == 0 ? radius * std::cos(angle) : radius * std::sin(angle));
  }

  /// Uniform in [0, bound), bound > 0 (Lemire's multiply-shift on 64 bits: bias below 2^-32 for bounds up to 2^32).
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const {
    const auto words = block(index);
    const std::uint64_t draw = (static_cast<std::uint64_t>(words[0]) << 32) | words[1];
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(draw) * bound) >> 64);
  }
};

/// Fisher-Yates over 0 … count-1: a pure function of (seed, stream, count).
std::vector<std::uint32_t> permutation(std::uint32_t count, const Philox& random);

}  // namespace primus
