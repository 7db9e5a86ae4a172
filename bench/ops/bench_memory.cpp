#include "measure.h"
#include "ops/adamw.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/step_state.h"
#include "ops/swiglu.h"

/// Operations that are limited by memory: bytes count each tensor once for each time it has to be read or written.
namespace primus::bench {
namespace {

constexpr std::int64_t kTokens = 2048, kHidden = 576, kIntermediate = 1536, kVocabulary = 49152;
constexpr std::int64_t kParameters = 16 << 20;

double size(DType dtype) { return static_cast<double>(size_of(dtype)); }

void register_one(const std::string& title, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(title.c_str(), body)->UseManualTime()->MinTime(0.3);
}

ops::StepState step_state() {
  ops::StepState state{};
  state.loss_scale = 1.0;
  state.grad_multiplier = 1.0;
  state.updates = 3;
  return state;
}

void add_norms(DType dtype) {
  const double activation = static_cast<double>(kTokens * kHidden) * size(dtype);
  register_one(fmt::format("rms_norm/{}/fwd", name_of(dtype)), [=](benchmark::State& state) {
    const Data x(dtype, kTokens, kHidden), y(dtype, kTokens, kHidden), weight(dtype, 1, kHidden),
        rstd(DType::kF32, 1, kTokens);
    measure_bytes(state, 2.0 * activation, [&] {
      ops::rms_norm_forward(stream(), {x, weight.vector(), 1e-6F, y, rstd.vector()});
    });
  });
  register_one(fmt::format("rms_norm/{}/bwd", name_of(dtype)), [=](benchmark::State& state) {
    const Data x(dtype, kTokens, kHidden), dy(dtype, kTokens, kHidden), dx(dtype, kTokens, kHidden),
        weight(dtype, 1, kHidden), rstd(DType::kF32, 1, kTokens), d_weight(DType::kF32, 1, kHidden);
    measure_bytes(state, 4.0 * activation, [&] {
      ops::rms_norm_backward(stream(), {dy, x, weight.vector(), rstd.vector(), dx, dx, d_weight.vector()});
    });
  });
}

void add_rope(DType dtype) {
  const double bytes = 2.0 * static_cast<double>(kTokens * 768) * size(dtype);
  for (const bool norm : {false, true}) {
    register_one(fmt::format("rope{}/{}/fwd", norm ? "_norm" : "", name_of(dtype)), [=](benchmark::State& state) {
      const Data q(dtype, kTokens, 576), k(dtype, kTokens, 192), cos(DType::kF32, kTokens, 32),
          sin(DType::kF32, kTokens, 32), positions(DType::kI32, 1, kTokens), weight(dtype, 1, 64),
          q_out(dtype, kTokens, 576), k_out(dtype, kTokens, 192);
      for (std::int32_t t = 0; t < kTokens; ++t) positions.matrix().as<std::int32_t>()[t] = t;
      const Tensor w = norm ? weight.vector() : Tensor();
      measure_bytes(state, bytes, [&] {
        ops::rope_forward(stream(), {q, k, 64, w, w, 1e-6F, positions.vector(), cos, sin, q_out, k_out, {}});
      });
    });
  }
}

void add_swiglu(DType dtype) {
  const double activation = static_cast<double>(kTokens * kIntermediate) * size(dtype);
  register_one(fmt::format("swiglu/{}/fwd", name_of(dtype)), [=](benchmark::State& state) {
    const Data gate_up(dtype, kTokens, 2 * kIntermediate), out(dtype, kTokens, kIntermediate);
    measure_bytes(state, 3.0 * activation, [&] { ops::swiglu_forward(stream(), {gate_up, out}); });
  });
  register_one(fmt::format("swiglu/{}/bwd", name_of(dtype)), [=](benchmark::State& state) {
    const Data gate_up(dtype, kTokens, 2 * kIntermediate), d_gate_up(dtype, kTokens, 2 * kIntermediate),
        d_out(dtype, kTokens, kIntermediate);
    measure_bytes(state, 5.0 * activation, [&] { ops::swiglu_backward(stream(), {d_out, gate_up, d_gate_up, {}}); });
  });
}

void add_cross_entropy(DType dtype) {
  register_one(fmt::format("cross_entropy/{}/fwd_bwd", name_of(dtype)), [=](benchmark::State& state) {
    const std::int64_t rows = 512;
    const Data logits(dtype, rows, kVocabulary), targets(DType::kI32, 1, rows), loss(DType::kF32, 1, rows),
        step(DType::kU8, 1, sizeof(ops::StepState));
    for (std::int32_t t = 0; t < rows; ++t) targets.matrix().as<std::int32_t>()[t] = t;
    const ops::StepState now = step_state();
    stream().copy_to_device(step.vector(), &now);
    measure_bytes(state, 2.0 * static_cast<double>(logits.matrix().bytes()), [&] {
      ops::cross_entropy_forward_backward(stream(),
                                          {logits, targets.vector(), loss.vector(), 1.0F, step.vector(), logits});
    });
  });
}

void add_adamw(const char* name, DType grads_type, DType master_type, DType moment_type, DType weights_type) {
  register_one(fmt::format("adamw/{}", name), [=](benchmark::State& state) {
    const Data grads(grads_type, 1, kParameters), master(master_type, 1, kParameters),
        exp_avg(moment_type, 1, kParameters), exp_avg_sq(moment_type, 1, kParameters),
        weights(weights_type, 1, kParameters), step(DType::kU8, 1, sizeof(ops::StepState));
    ops::convert(stream(), {exp_avg_sq, exp_avg_sq, 0.0F});
    const ops::StepState now = step_state();
    stream().copy_to_device(step.vector(), &now);
    ops::AdamW args = {.grads = grads.vector(),
                       .master = master.vector(),
                       .exp_avg = exp_avg.vector(),
                       .exp_avg_sq = exp_avg_sq.vector(),
                       .lr = 1e-5,
                       .weight_decay = 0.01,
                       .state = step.vector()};
    double bytes = size(grads_type) + 2.0 * size(master_type) + 4.0 * size(moment_type);
    if (weights_type != master_type) {
      args.weights = weights.vector();
      bytes += size(weights_type);
    }
    measure_bytes(state, bytes * static_cast<double>(kParameters), [&] { ops::adamw(stream(), args); });
  });
}

const int kRegistered = [] {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add_norms(dtype);
    add_rope(dtype);
    add_swiglu(dtype);
    add_cross_entropy(dtype);
    register_one(fmt::format("squared_norm/{}", name_of(dtype)), [=](benchmark::State& state) {
      const Data grads(dtype, 1, kParameters), step(DType::kU8, 1, sizeof(ops::StepState));
      measure_bytes(state, static_cast<double>(grads.matrix().bytes()),
                    [&] { ops::add_squared_norm(stream(), grads, step.vector()); });
    });
  }
  add_adamw("f32", DType::kF32, DType::kF32, DType::kF32, DType::kF32);
  add_adamw("f32_states_bf16_weights", DType::kF32, DType::kF32, DType::kF32, DType::kBF16);
  add_adamw("all_bf16", DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16);
  return 0;
}();

}  // namespace
}  // namespace primus::bench
