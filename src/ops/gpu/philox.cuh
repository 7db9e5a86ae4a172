#pragma once

#include <cstdint>

#include "ops/gpu/runtime.h"

/// base/random.h's Philox 4x32-10 on the device: the same words for the same (seed, stream, block).
namespace primus::ops::gpu {

constexpr int kPhiloxRounds = 10;

struct PhiloxWords {
  std::uint32_t word[4];
};

/// The keys of all rounds. As a kernel's argument they are operands from constant memory, which cost no instructions.
struct PhiloxKeys {
  std::uint32_t first[kPhiloxRounds];
  std::uint32_t second[kPhiloxRounds];

  __host__ __device__ __forceinline__ explicit PhiloxKeys(std::uint64_t seed) {
    for (int round = 0; round < kPhiloxRounds; ++round) {
      first[round] = static_cast<std::uint32_t>(seed) + static_cast<std::uint32_t>(round) * 0x9E3779B9U;
      second[round] = static_cast<std::uint32_t>(seed >> 32) + static_cast<std::uint32_t>(round) * 0xBB67AE85U;
    }
  }
};

struct WideProduct {
  std::uint32_t low, high;
};

/// In one instruction: for a product of two std::uint64_t the compiler adds zero to the upper half.
__device__ __forceinline__ WideProduct wide_product(std::uint32_t a, std::uint32_t b) {
#if defined(PRIMUS_HIP)
  return {a * b, __umulhi(a, b)};
#else
  WideProduct product;
  asm("{ .reg .u64 wide; mul.wide.u32 wide, %2, %3; mov.b64 {%0, %1}, wide; }"
      : "=r"(product.low), "=r"(product.high)
      : "r"(a), "r"(b));
  return product;
#endif
}

__device__ __forceinline__ PhiloxWords philox(const PhiloxKeys& keys, std::uint64_t stream, std::uint64_t block) {
  std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
#pragma unroll
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const WideProduct p0 = wide_product(c0, 0xD2511F53U), p1 = wide_product(c2, 0xCD9E8D57U);
    c0 = p1.high ^ c1 ^ keys.first[round];
    c2 = p0.high ^ c3 ^ keys.second[round];
    c1 = p1.low;
    c3 = p0.low;
  }
  return {{c0, c1, c2, c3}};
}

__device__ __forceinline__ PhiloxWords philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  return philox(PhiloxKeys(seed), stream, block);
}

}  // namespace primus::ops::gpu
