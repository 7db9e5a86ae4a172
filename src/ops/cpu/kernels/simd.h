#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "ops/cpu/kernels.h"

/// Vectors of floats as wide as the instruction set that this file is compiled for, on GCC's and Clang's vector
/// extension: arithmetic is written with operators. Everything is in a namespace of the level and has internal linkage.
namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

#define PRIMUS_INLINE [[gnu::always_inline]] inline

using Vec [[gnu::vector_size(kLanes * 4)]] = float;
using IntVec [[gnu::vector_size(kLanes * 4)]] = std::int32_t;
using UintVec [[gnu::vector_size(kLanes * 4)]] = std::uint32_t;
using HalfVec [[gnu::vector_size(kLanes * 2)]] = std::uint16_t;
using HalfOfVec [[gnu::vector_size(kLanes * 2)]] = float;
using DoubleVec [[gnu::vector_size(kLanes * 4)]] = double;  // half as many lanes

/// Element types as bits: what base types of the project do inline may not be instantiated here.
struct BF16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

/// How many lanes of a vector are memory: all, or the last few of a row.
struct AllLanes {};
struct FirstLanes {
  Index count;
};

template <typename V, typename T>
PRIMUS_INLINE V load_raw(const T* from, AllLanes) {
  V value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
template <typename V, typename T>
PRIMUS_INLINE V load_raw(const T* from, FirstLanes lanes) {
  V value{};
  __builtin_memcpy(&value, from, static_cast<std::size_t>(lanes.count) * sizeof(T));
  return value;
}
template <typename V, typename T>
PRIMUS_INLINE void store_raw(T* to, V value, AllLanes) {
  __builtin_memcpy(to, &value, sizeof value);
}
template <typename V, typename T>
PRIMUS_INLINE void store_raw(T* to, V value, FirstLanes lanes) {
  __builtin_memcpy(to, &value, static_cast<std::size_t>(lanes.count) * sizeof(T));
}

PRIMUS_INLINE Vec splat(float value) { return value - Vec{}; }
PRIMUS_INLINE Vec as_floats(UintVec bits) { return reinterpret_cast<Vec>(bits); }
PRIMUS_INLINE UintVec as_bits(Vec value) { return reinterpret_cast<UintVec>(value); }

/// 16-bit lanes to 32-bit lanes and back (the low halves). Written with the instructions for it where the compiler
/// takes detours.
PRIMUS_INLINE UintVec to_words(HalfVec bits) {
#if defined(__AVX512F__)
  return reinterpret_cast<UintVec>(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(bits)));
#elif defined(__AVX2__)
  return reinterpret_cast<UintVec>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(bits)));
#else
  return __builtin_convertvector(bits, UintVec);
#endif
}
PRIMUS_INLINE HalfVec to_halves(UintVec words) {
#if defined(__AVX512F__)
  return reinterpret_cast<HalfVec>(_mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(words)));
#elif defined(__AVX2__)
  const __m256i low = reinterpret_cast<__m256i>(words & 0xFFFFU);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return reinterpret_cast<HalfVec>(_mm256_castsi256_si128(packed));
#else
  return __builtin_convertvector(words, HalfVec);
#endif
}

PRIMUS_INLINE Vec widen(HalfVec bits, BF16) { return as_floats(to_words(bits) << 16); }

/// Rounded to nearest even, the kept bits on top; NaN stays NaN.
PRIMUS_INLINE UintVec rounded_bits(Vec value, BF16) {
  const UintVec word = as_bits(value);
  const UintVec rounded = word + 0x7FFFU + ((word >> 16) & 1U);
  return value == value ? rounded : (word | 0x400000U);
}
PRIMUS_INLINE HalfVec narrow(Vec value, BF16 type) { return to_halves(rounded_bits(value, type) >> 16); }

PRIMUS_INLINE Vec widen(HalfVec bits, F16) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_cvtph_ps(reinterpret_cast<__m256i>(bits)));
#elif defined(__F16C__)
  return reinterpret_cast<Vec>(_mm256_cvtph_ps(reinterpret_cast<__m128i>(bits)));
#else
  Vec value;
  for (int lane = 0; lane < kLanes; ++lane) {
    value[lane] = static_cast<float>(__builtin_bit_cast(_Float16, static_cast<std::uint16_t>(bits[lane])));
  }
  return value;
#endif
}

PRIMUS_INLINE HalfVec narrow(Vec value, F16) {
#if defined(__AVX512F__)
  return reinterpret_cast<HalfVec>(_mm512_cvtps_ph(reinterpret_cast<__m512>(value), _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  return reinterpret_cast<HalfVec>(_mm256_cvtps_ph(reinterpret_cast<__m256>(value), _MM_FROUND_TO_NEAREST_INT));
#else
  HalfVec bits;
  for (int lane = 0; lane < kLanes; ++lane) {
    bits[lane] = __builtin_bit_cast(std::uint16_t, static_cast<_Float16>(value[lane]));
  }
  return bits;
#endif
}

/// Elements as floats.
template <typename Lanes>
PRIMUS_INLINE Vec load(const float* from, Lanes lanes) {
  return load_raw<Vec>(from, lanes);
}
template <typename T, typename Lanes>
PRIMUS_INLINE Vec load(const T* from, Lanes lanes) {
  return widen(load_raw<HalfVec>(from, lanes), T{});
}
template <typename Lanes>
PRIMUS_INLINE void store(float* to, Vec value, Lanes lanes) {
  store_raw(to, value, lanes);
}
template <typename T, typename Lanes>
PRIMUS_INLINE void store(T* to, Vec value, Lanes lanes) {
  store_raw(to, narrow(value, T{}), lanes);
}

/// What `value` becomes when it is stored as T.
PRIMUS_INLINE Vec rounded_to(Vec value, float) { return value; }
PRIMUS_INLINE Vec rounded_to(Vec value, BF16 type) { return as_floats(rounded_bits(value, type) & 0xFFFF0000U); }
PRIMUS_INLINE Vec rounded_to(Vec value, F16 type) { return widen(narrow(value, type), type); }

/// body(offset, lanes) over `count` elements, a vector at a time.
template <typename Body>
PRIMUS_INLINE void for_lanes(Index count, Body body) {
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, AllLanes{});
  if (i < count) body(i, FirstLanes{count - i});
}

PRIMUS_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }

/// Both halves of a vector, quarters within halves, … combined by `with`: lane 0 of the result holds all.
template <int kWidth, int... kLane, typename With>
PRIMUS_INLINE Vec fold(Vec value, std::integer_sequence<int, kLane...> lanes, With with) {
  if constexpr (kWidth == 0) {
    return value;
  } else {
    constexpr IntVec kPartner = {(kLane ^ kWidth)...};
    return fold<kWidth / 2>(with(value, __builtin_shuffle(value, kPartner)), lanes, with);
  }
}
PRIMUS_INLINE float sum(Vec value) {
  return fold<kLanes / 2>(value, std::make_integer_sequence<int, kLanes>{}, [](Vec a, Vec b) { return a + b; })[0];
}
PRIMUS_INLINE float max(Vec value) {
  return fold<kLanes / 2>(value, std::make_integer_sequence<int, kLanes>{}, [](Vec a, Vec b) { return max(a, b); })[0];
}

/// 2^n · e^r for x = n·ln 2 + r, |r| ≤ ln 2 / 2: e^r by a polynomial of degree 6 (coefficients of Cephes' expf), 2^n
/// put together from its bits; n + 127 appears in the low bits of x·log2 e + 1.5·2^23 + 127.
PRIMUS_INLINE Vec exp_in_range(Vec x) {
  constexpr float kShift = 12582912.0F + 127.0F;
  const Vec shifted = x * 1.44269504F + kShift;
  const Vec n = shifted - kShift;
  const Vec r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  Vec p = 1.9875691500e-4F * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = (p * r) * r + (r + 1.0F);
  return p * as_floats(as_bits(shifted) << 23);
}

/// exp to about 1.2e-7 relative. 0 below ln 2^-126 (no denormals), infinity above 127.5·ln 2, NaN for NaN.
PRIMUS_INLINE Vec exp(Vec x) {
  const Vec low = x < -87.33654F ? Vec{} : exp_in_range(x);
  return x > 88.37626F ? splat(__builtin_inff()) : low;
}

/// exp for x not above 88, as scores relative to their maximum are: e^-87 for anything below −87. NaN for NaN.
PRIMUS_INLINE Vec exp_of_score(Vec x) {
  const Vec lowest = splat(-87.0F);
  return exp_in_range(lowest > x ? lowest : x);
}

}  // namespace
}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
