#include "ops/cpu/kernels/level.h"
#include "ops/cpu/kernels/philox.h"
#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

void adamw(const AdamWFactors& factors, const float* __restrict grads, float* __restrict weights,
           float* __restrict exp_avg, float* __restrict exp_avg_sq, Index count) {
  const AdamWFactors f = factors;
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    const float g = grads[i] * f.grad_multiplier;
    const float m = f.beta1 * exp_avg[i] + f.one_minus_beta1 * g;
    const float v = f.beta2 * exp_avg_sq[i] + f.one_minus_beta2 * g * g;
    const float w = weights[i];
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    weights[i] = w - (f.step_size * m / (__builtin_sqrtf(v) * f.inverse_sqrt_c2 + f.eps) + f.decay * w);
  }
}

void rounding_bits(const RandomStream& random, std::uint64_t first_pair, std::uint16_t* master, std::uint16_t* exp_avg,
                   std::uint16_t* exp_avg_sq, Index pairs) {
  PhiloxWords words;
  for (Index done = 0; done < pairs; done += kPhiloxBlocks) {
    philox(random, first_pair + static_cast<std::uint64_t>(done), words);
    const Index size = pairs - done < kPhiloxBlocks ? pairs - done : kPhiloxBlocks;
    std::uint32_t pair[3][kPhiloxBlocks];  // two elements' bits beside each other
#pragma omp simd
    for (int b = 0; b < kPhiloxBlocks; ++b) {
      const std::uint32_t even = words.word[0][b], odd = words.word[2][b];
      pair[0][b] = (even & 0xFFFFU) | (odd << 16);
      pair[1][b] = (even >> 16) | (odd & 0xFFFF0000U);
      pair[2][b] = (words.word[1][b] & 0xFFFFU) | (words.word[3][b] << 16);
    }
    const auto bytes = static_cast<std::size_t>(size) * sizeof(std::uint32_t);
    __builtin_memcpy(master + 2 * done, pair[0], bytes);
    __builtin_memcpy(exp_avg + 2 * done, pair[1], bytes);
    __builtin_memcpy(exp_avg_sq + 2 * done, pair[2], bytes);
  }
}

void store_stochastic(const float* in, const std::uint16_t* random, void* out, Index count) {
  std::uint16_t* to = static_cast<std::uint16_t*>(out);
  for_lanes(count, [&](Index i, auto lanes) {
    const UintVec word = as_bits(load(in + i, lanes));
    const UintVec noise = to_words(load_raw<HalfVec>(random + i, lanes));
    const UintVec is_finite = (word & 0x7F800000U) != 0x7F800000U;
    const UintVec special = word | ((word & 0x007FFFFFU) != 0U ? UintVec{} + 0x400000U : UintVec{});
    store_raw(to + i, to_halves((is_finite ? word + noise : special) >> 16), lanes);
  });
}

template <typename T>
double squared_norm(const void* x, Index count) {
  const T* from = static_cast<const T*>(x);
  DoubleVec low_total{}, high_total{};
  for_lanes(count, [&](Index i, auto lanes) {
    const Vec value = load(from + i, lanes);
    HalfOfVec halves[2];
    __builtin_memcpy(halves, &value, sizeof value);
    const DoubleVec low = __builtin_convertvector(halves[0], DoubleVec);
    const DoubleVec high = __builtin_convertvector(halves[1], DoubleVec);
    low_total += low * low;
    high_total += high * high;
  });
  const DoubleVec total = low_total + high_total;
  double sum = 0.0;
  for (int lane = 0; lane < kLanes / 2; ++lane) sum += total[lane];
  return sum;
}

}  // namespace

void fill_optimizer(Kernels& table) {
  table.adamw = adamw;
  table.rounding_bits = rounding_bits;
  table.store_stochastic = store_stochastic;
  table.element[0].squared_norm = squared_norm<float>;
  table.element[1].squared_norm = squared_norm<BF16>;
  table.element[2].squared_norm = squared_norm<F16>;
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
