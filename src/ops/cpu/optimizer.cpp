#include <algorithm>
#include <cmath>

#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {
namespace {

StepState& state_of(const Tensor& state) { return *static_cast<StepState*>(state.data()); }

/// Elements that AdamW handles at a time: the f32 copies of everything that is kept in another type stay in the
/// first-level cache (4 × 2 KiB and the random bits).
constexpr Index kPiece = 512;

/// Elements whose squares are summed by one thread, whatever the number of threads.
constexpr Index kNormChunk = 1 << 16;

/// One state of the optimizer: f32 in place, or bf16 through a copy.
struct State {
  void* data;
  DType dtype;
  float copy[kPiece];

  float* read(Index first, Index count) {
    if (dtype == DType::kF32) return static_cast<float*>(data) + first;
    kernels_of(dtype).load(element_at(data, dtype, first), copy, count);
    return copy;
  }
  void write(Index first, Index count, const std::uint16_t* random) {
    if (dtype == DType::kF32) return;
    kernels().store_stochastic(copy, random, element_at(data, dtype, first), count);
    // what other copies are made from is what is kept
    kernels_of(dtype).load(element_at(data, dtype, first), copy, count);
  }
};

AdamWFactors factors_of(const AdamW& args, const StepState& state) {
  const auto step = static_cast<double>(state.updates);
  return {.grad_multiplier = static_cast<float>(state.grad_multiplier),
          .beta1 = static_cast<float>(args.beta1),
          .beta2 = static_cast<float>(args.beta2),
          .one_minus_beta1 = static_cast<float>(1.0 - args.beta1),
          .one_minus_beta2 = static_cast<float>(1.0 - args.beta2),
          .step_size = static_cast<float>(args.lr / (1.0 - std::pow(args.beta1, step))),
          .inverse_sqrt_c2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(args.beta2, step))),
          .eps = static_cast<float>(args.eps),
          .decay = static_cast<float>(args.lr * args.weight_decay)};
}

void update(const AdamW& args, const AdamWFactors& factors, const RandomStream& random, Index begin, Index end) {
  State grads{args.grads.data(), args.grads.dtype(), {}};
  State master{args.master.data(), args.master.dtype(), {}};
  State exp_avg{args.exp_avg.data(), args.exp_avg.dtype(), {}};
  State exp_avg_sq{args.exp_avg_sq.data(), args.exp_avg_sq.dtype(), {}};
  const bool rounds = master.dtype != DType::kF32 || exp_avg.dtype != DType::kF32 || exp_avg_sq.dtype != DType::kF32;
  std::uint16_t bits[3][kPiece + 2];
  for (Index first = begin; first < end; first += kPiece) {
    const Index count = std::min(kPiece, end - first);
    float* weights = master.read(first, count);
    kernels().adamw(factors, grads.read(first, count), weights, exp_avg.read(first, count),
                    exp_avg_sq.read(first, count), count);
    if (rounds) {
      const std::uint64_t element = args.first_element + static_cast<std::uint64_t>(first);
      const Index odd = static_cast<Index>(element % 2);  // then the first pair's second half is ours
      kernels().rounding_bits(random, element / 2, bits[0], bits[1], bits[2], (odd + count + 1) / 2);
      master.write(first, count, bits[0] + odd);
      exp_avg.write(first, count, bits[1] + odd);
      exp_avg_sq.write(first, count, bits[2] + odd);
    }
    if (args.weights) {
      const DType dtype = args.weights.dtype();
      kernels_of(dtype).store(weights, element_at(args.weights.data(), dtype, first), count);
    }
  }
}

}  // namespace

void begin_step(Stream&, const Tensor& state) {
  state_of(state).loss_sum = 0.0;
  state_of(state).grad_sq_sum = 0.0;
}

void add_loss(Stream&, const Tensor& loss, const Tensor& state) {
  const float* losses = loss.as<float>();
  double sum = 0.0;
  for (Index i = 0; i < loss.numel(); ++i) sum += losses[i];
  state_of(state).loss_sum += sum;
}

void add_squared_norm(Stream&, const Tensor& grads, const Tensor& state) {
  const Index count = grads.numel(), chunks = (count + kNormChunk - 1) / kNormChunk;
  const ElementKernels& table = kernels_of(grads.dtype());
  auto* sums =
      static_cast<double*>(scratch_bytes(Scratch::kPartialSums, static_cast<std::size_t>(chunks) * sizeof(double)));
  parallel_ranges(chunks, std::min(count, kNormChunk), [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk) {
      const Index first = chunk * kNormChunk;
      sums[chunk] =
          table.squared_norm(element_at(grads.data(), grads.dtype(), first), std::min(kNormChunk, count - first));
    }
  });
  double sum = 0.0;
  for (Index chunk = 0; chunk < chunks; ++chunk) sum += sums[chunk];
  state_of(state).grad_sq_sum += sum;
}

void decide_step(Stream&, const DecideStep& args) {
  StepState& state = state_of(args.state);
  state.grad_norm = std::sqrt(state.grad_sq_sum) / state.loss_scale;
  const bool finite = std::isfinite(state.grad_norm) && std::isfinite(state.loss_sum);
  const double clipping = args.clip_grad > 0.0 ? std::min(1.0, args.clip_grad / (state.grad_norm + 1e-6)) : 1.0;
  state.grad_multiplier = clipping / state.loss_scale;
  if (finite) {
    state.skip = 0;
    ++state.updates;
    state.skipped_in_a_row = 0;
    ++state.finite_in_a_row;
  } else {
    state.skip = 1;
    ++state.skipped;
    ++state.skipped_in_a_row;
    state.finite_in_a_row = 0;
  }
  if (!args.dynamic_loss_scale) return;
  double scale = state.loss_scale;
  if (!finite) scale *= args.backoff_factor;
  if (state.finite_in_a_row >= args.growth_interval) {
    scale *= args.growth_factor;
    state.finite_in_a_row = 0;
  }
  state.loss_scale = std::clamp(scale, args.min_loss_scale, args.max_loss_scale);
}

void adamw(Stream&, const AdamW& args) {
  const StepState& state = state_of(args.state);
  if (state.skip != 0) return;
  const AdamWFactors factors = factors_of(args, state);
  const RandomStream random = {args.seed, static_cast<std::uint64_t>(state.updates)};
  const Index count = args.grads.numel();
  parallel_ranges((count + kPiece - 1) / kPiece, kPiece, [&](Index begin, Index end) {
    update(args, factors, random, begin * kPiece, std::min(count, end * kPiece));
  });
}

}  // namespace primus::ops::cpu
