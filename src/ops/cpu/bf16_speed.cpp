#include "ops/cpu/bf16_speed.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string_view>

#include "ops/cpu/gemm.h"
#include "ops/cpu_backend.h"

#if defined(PRIMUS_CPU_LEVELS_X86)
#include <immintrin.h>
#endif

namespace primus::ops::cpu {
namespace {

#if defined(PRIMUS_CPU_LEVELS_X86)

constexpr int kRounds = 200;

template <typename Burst>
double seconds_of(const Burst& burst) {
  const auto begin = std::chrono::steady_clock::now();
  burst();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Sixteen independent sums, so that the rate counts and not the latency.
#define PRIMUS_BURST(instruction)                                                                                      \
  for (int round = 0; round < kRounds; ++round) {                                                                      \
    asm volatile(instruction " %%zmm16, %%zmm17, %%zmm0\n\t" instruction " %%zmm16, %%zmm17, %%zmm1\n\t" instruction   \
                             " %%zmm16, %%zmm17, %%zmm2\n\t" instruction " %%zmm16, %%zmm17, %%zmm3\n\t" instruction   \
                             " %%zmm16, %%zmm17, %%zmm4\n\t" instruction " %%zmm16, %%zmm17, %%zmm5\n\t" instruction   \
                             " %%zmm16, %%zmm17, %%zmm6\n\t" instruction " %%zmm16, %%zmm17, %%zmm7\n\t" instruction   \
                             " %%zmm16, %%zmm17, %%zmm8\n\t" instruction " %%zmm16, %%zmm17, %%zmm9\n\t" instruction   \
                             " %%zmm16, %%zmm17, %%zmm10\n\t" instruction " %%zmm16, %%zmm17, %%zmm11\n\t" instruction \
                             " %%zmm16, %%zmm17, %%zmm12\n\t" instruction " %%zmm16, %%zmm17, %%zmm13\n\t" instruction \
                             " %%zmm16, %%zmm17, %%zmm14\n\t" instruction " %%zmm16, %%zmm17, %%zmm15" ::              \
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",     \
                                   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                              \
  }

[[gnu::target("avx512f")]] void clear_operands() {
  // numbers of ordinary size: infinities and denormals may take longer
  asm volatile("vpxord %%zmm16, %%zmm16, %%zmm16\n\tvpxord %%zmm17, %%zmm17, %%zmm17" ::: "xmm16", "xmm17");
}

/// Runs must take the same way each time they start, or a resumed one differs: the two are timed in turns, each pair of
/// times under the same conditions (a busy neighbour, a clock that changes), and the median of their ratios decides.
[[gnu::target("avx512f,avx512bf16")]] bool dot_product_is_fast() {
  constexpr int kWarmUp = 30;  // wide units are slower when they have just woken up
  std::array<double, 61> ratios;
  for (int i = -kWarmUp; i < static_cast<int>(ratios.size()); ++i) {
    clear_operands();
    const double f32 = seconds_of([] { PRIMUS_BURST("vfmadd231ps") });
    const double bf16 = seconds_of([] { PRIMUS_BURST("vdpbf16ps") });
    if (i >= 0) ratios[static_cast<std::size_t>(i)] = bf16 / f32;
  }
  asm volatile("vzeroupper");
  const auto median = ratios.begin() + ratios.size() / 2;
  std::nth_element(ratios.begin(), median, ratios.end());
  // an instruction of bf16 does twice the work; the conversion to f32 costs about a tenth
  return *median < 2.2;
}

#endif

bool find_out() {
  if (const char* wish = std::getenv("PRIMUS_CPU_BF16"); wish != nullptr) {
    if (std::string_view(wish) == "native") return gemm_takes_bf16();
    if (std::string_view(wish) == "f32") return false;
  }
#if defined(PRIMUS_CPU_LEVELS_X86)
  if (!gemm_takes_bf16() || !has_native_bf16()) return false;
  if (__builtin_cpu_supports("amx-bf16")) return true;
  return dot_product_is_fast();
#else
  return false;
#endif
}

bool& answer() {
  static bool fast = find_out();
  return fast;
}

}  // namespace

bool bf16_products_are_fast() { return answer(); }

void pretend_bf16_products_are_fast(bool fast) { answer() = fast && gemm_takes_bf16(); }

}  // namespace primus::ops::cpu
