#pragma once

#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

constexpr int kPhiloxBlocks = 32;

struct PhiloxWords {
  std::uint32_t word[4][kPhiloxBlocks];
  float factor[4 * kPhiloxBlocks];
};

/// The two halves of the 64-bit products a · b. Written with the instruction for it: the compiler's choice is a full
/// 64-bit product, which is several times slower.
PRIMUS_INLINE void multiply_wide(UintVec a, std::uint32_t b, UintVec& high, UintVec& low) {
#if defined(__AVX512F__)
  const __m512i left = reinterpret_cast<__m512i>(a), right = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i even = _mm512_mul_epu32(left, right), odd = _mm512_mul_epu32(_mm512_srli_epi64(left, 32), right);
  high = reinterpret_cast<UintVec>(_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd));
  low = reinterpret_cast<UintVec>(_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
#elif defined(__AVX2__)
  const __m256i left = reinterpret_cast<__m256i>(a), right = _mm256_set1_epi32(static_cast<int>(b));
  const __m256i even = _mm256_mul_epu32(left, right), odd = _mm256_mul_epu32(_mm256_srli_epi64(left, 32), right);
  high = reinterpret_cast<UintVec>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA));
  low = reinterpret_cast<UintVec>(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA));
#else
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::uint64_t product = static_cast<std::uint64_t>(a[lane]) * b;
    high[lane] = static_cast<std::uint32_t>(product >> 32);
    low[lane] = static_cast<std::uint32_t>(product);
  }
#endif
}

/// words.word[w][b] = word w of block first_block + b: base/random.h's Philox, many blocks side by side.
PRIMUS_INLINE void philox(const RandomStream& random, std::uint64_t first_block, PhiloxWords& words) {
  for (int b = 0; b < kPhiloxBlocks; b += kLanes) {
    UintVec c0, c1;
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t block = first_block + static_cast<std::uint64_t>(b + lane);
      c0[lane] = static_cast<std::uint32_t>(block);
      c1[lane] = static_cast<std::uint32_t>(block >> 32);
    }
    UintVec c2 = UintVec{} + static_cast<std::uint32_t>(random.stream);
    UintVec c3 = UintVec{} + static_cast<std::uint32_t>(random.stream >> 32);
    std::uint32_t k0 = static_cast<std::uint32_t>(random.seed), k1 = static_cast<std::uint32_t>(random.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      UintVec high0, low0, high2, low2;
      multiply_wide(c0, 0xD2511F53U, high0, low0);
      multiply_wide(c2, 0xCD9E8D57U, high2, low2);
      c0 = high2 ^ c1 ^ k0;
      c2 = high0 ^ c3 ^ k1;
      c1 = low2;
      c3 = low0;
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    store_raw(words.word[0] + b, c0, AllLanes{});
    store_raw(words.word[1] + b, c1, AllLanes{});
    store_raw(words.word[2] + b, c2, AllLanes{});
    store_raw(words.word[3] + b, c3, AllLanes{});
  }
}

}  // namespace
}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
