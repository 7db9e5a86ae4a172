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

void rounding_bits(const RandomStream& random, std::uint64_t first, std::uint16_t* master, std::uint16_t* exp_avg,
                   std::uint16_t* exp_avg_sq, Index count) {
  PhiloxWords words;
  Index done = 0;
  while (done < count) {
    const std::uint64_t element = first + static_cast<std::uint64_t>(done);
    const Index skipped = static_cast<Index>(element % 2);
    philox(random, element / 2, words);
    const Index room = 2 * kPhiloxBlocks - skipped;
    const Index size = room < count - done ? room : count - done;
    for (Index i = 0; i < size; ++i) {
      const Index at = skipped + i;
      const std::uint32_t low = words.word[2 * (at % 2)][at / 2], high = words.word[2 * (at % 2) + 1][at / 2];
      master[done + i] = static_cast<std::uint16_t>(low);
      exp_avg[done + i] = static_cast<std::uint16_t>(low >> 16);
      exp_avg_sq[done + i] = static_cast<std::uint16_t>(high);
    }
    done += size;
  }
}

void store_stochastic(const float* in, const std::uint16_t* random, void* out, Index count) {
  std::uint16_t* to = static_cast<std::uint16_t*>(out);
  for_lanes(count, [&](Index i, auto lanes) {
    const UintVec word = as_bits(load(in + i, lanes));
    const UintVec noise = __builtin_convertvector(load_raw<HalfVec>(random + i, lanes), UintVec);
    const UintVec is_finite = (word & 0x7F800000U) != 0x7F800000U;
    const UintVec special = word | ((word & 0x007FFFFFU) != 0U ? UintVec{} + 0x400000U : UintVec{});
    store_raw(to + i, __builtin_convertvector((is_finite ? word + noise : special) >> 16, HalfVec), lanes);
  });
}

template <typename T>
double squared_norm(const void* x, Index count) {
  const T* from = static_cast<const T*>(x);
  DoubleVec total{};
  for_lanes(count, [&](Index i, auto lanes) {
    const DoubleVec value = __builtin_convertvector(load(from + i, lanes), DoubleVec);
    total += value * value;
  });
  return sum(total);
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
