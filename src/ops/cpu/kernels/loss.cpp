#include "ops/cpu/kernels/level.h"
#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

// So many logits at a time: they stay in the first-level cache between the search for the maximum and the sum.
constexpr Index kChunk = 2048;

template <typename L>
float log_sum_exp(const L* logits, Index columns) {
  float highest = -__FLT_MAX__;
  Vec total{};
  for (Index begin = 0; begin < columns; begin += kChunk) {
    const Index size = columns - begin < kChunk ? columns - begin : kChunk;
    const L* chunk = logits + begin;
    Vec peak = splat(highest);
    Index j = 0;
    for (; j + kLanes <= size; j += kLanes) peak = max(load(chunk + j, AllLanes{}), peak);
    float peak_of_chunk = max(peak);
    for (; j < size; ++j) {
      const float value = load(chunk + j, FirstLanes{1})[0];
      peak_of_chunk = value > peak_of_chunk ? value : peak_of_chunk;
    }
    if (peak_of_chunk > highest) {
      total *= exp(splat(highest - peak_of_chunk));
      highest = peak_of_chunk;
    }
    for_lanes(size, [&](Index i, auto lanes) {
      Vec terms = exp_of_score(load(chunk + i, lanes) - highest);
      if constexpr (!std::is_same_v<decltype(lanes), AllLanes>) {
        for (Index lane = lanes.count; lane < kLanes; ++lane) terms[lane] = 0.0F;
      }
      total += terms;
    });
  }
  return highest + __builtin_logf(sum(total));
}

template <typename L, typename D>
void cross_entropy(const CrossEntropyArgs& args, Index begin, Index end) {
  for (Index t = begin; t < end; ++t) {
    const L* logits = static_cast<const L*>(args.logits.data) + t * args.logits.stride;
    const std::int32_t target = args.targets[t];
    const float log_sum = log_sum_exp(logits, args.columns);
    const float target_logit = load(logits + target, FirstLanes{1})[0];
    args.loss[t] = log_sum - target_logit;
    if (args.d_logits.data == nullptr) continue;
    D* d_logits = static_cast<D*>(args.d_logits.data) + t * args.d_logits.stride;
    const float scale = args.scale;
    for_lanes(args.columns,
              [&](Index j, auto lanes) { store(d_logits + j, exp(load(logits + j, lanes) - log_sum) * scale, lanes); });
    const Vec at_target = (exp(splat(target_logit - log_sum)) - 1.0F) * scale;
    store(d_logits + target, at_target, FirstLanes{1});
  }
}

template <typename T>
void fill(ElementKernels& table) {
  table.cross_entropy = cross_entropy<T, T>;
  table.cross_entropy_of_f32 = cross_entropy<float, T>;
}

}  // namespace

void fill_loss(Kernels& table) {
  fill<float>(table.element[0]);
  fill<BF16>(table.element[1]);
  fill<F16>(table.element[2]);
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
