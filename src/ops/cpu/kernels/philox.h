#pragma once

#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

constexpr int kPhiloxBlocks = 32;

struct PhiloxWords {
  std::uint32_t word[4][kPhiloxBlocks];
  float factor[4 * kPhiloxBlocks];
};

/// words.word[w][b] = word w of block first_block + b: base/random.h's Philox, many blocks side by side.
PRIMUS_INLINE void philox(const RandomStream& random, std::uint64_t first_block, PhiloxWords& words) {
#pragma omp simd
  for (int b = 0; b < kPhiloxBlocks; ++b) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(b);
    std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
    std::uint32_t c2 = static_cast<std::uint32_t>(random.stream);
    std::uint32_t c3 = static_cast<std::uint32_t>(random.stream >> 32);
    std::uint32_t k0 = static_cast<std::uint32_t>(random.seed), k1 = static_cast<std::uint32_t>(random.seed >> 32);
#pragma GCC unroll 10
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
    words.word[0][b] = c0;
    words.word[1][b] = c1;
    words.word[2][b] = c2;
    words.word[3][b] = c3;
  }
}

}  // namespace
}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
