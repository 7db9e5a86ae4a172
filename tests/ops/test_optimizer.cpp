#include <algorithm>
#include <limits>

#include "ops/adamw.h"
#include "ops/step_state.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(Optimizer);

ops::StepState fresh_state() {
  ops::StepState state{};
  state.loss_scale = 1.0;
  return state;
}

TEST_P(Optimizer, BeginStepClearsTheSums) {
  ops::StepState before = fresh_state();
  before.loss_sum = 3.0;
  before.grad_sq_sum = 4.0;
  before.updates = 7;
  const DeviceData state = DeviceData::step_state(stream(), before);
  ops::begin_step(stream(), state);
  EXPECT_EQ(state.download_state().loss_sum, 0.0);
  EXPECT_EQ(state.download_state().grad_sq_sum, 0.0);
  EXPECT_EQ(state.download_state().updates, 7);
}

TEST_P(Optimizer, LossAndNormAddUp) {
  const DType type = dtype() == DType::kBF16 ? DType::kBF16 : DType::kF32;
  const Matrix losses = random_matrix(1, 1001, DType::kF32, 1), grads = random_matrix(1, 200003, type, 2);
  const DeviceData loss_data = DeviceData::vector(stream(), DType::kF32, losses),
                   grad_data = DeviceData::vector(stream(), type, grads);
  double loss_sum = 0.0;
  for (const double value : losses.values) loss_sum += value;
  for (const std::int64_t first : {0, 1}) {  // where packs of elements are aligned, and where not
    const DeviceData state = DeviceData::step_state(stream(), fresh_state());
    const Tensor slice = grad_data.tensor().slice(first, grads.columns);
    double squares = 0.0;
    for (std::int64_t i = first; i < grads.columns; ++i) squares += grads(0, i) * grads(0, i);
    for (int call = 1; call <= 2; ++call) {
      ops::add_loss(stream(), loss_data, state);
      ops::add_squared_norm(stream(), slice, state);
      // sums of at most 2 · 10^5 numbers in double
      EXPECT_NEAR(state.download_state().loss_sum, call * loss_sum, 1e-11 * 1001);
      EXPECT_NEAR(state.download_state().grad_sq_sum, call * squares, 1e-11 * squares);
    }
    expect_same_for_any_threads([&] {
      ops::begin_step(stream(), state);
      ops::add_squared_norm(stream(), slice, state);
      return state.download_bytes();
    });
  }
}

TEST_P(Optimizer, TheNormOfNothingIsZero) {
  const DeviceData state = DeviceData::step_state(stream(), fresh_state()),
                   grads = DeviceData::vector(stream(), DType::kF32, filled(1, 8, 3.0));
  ops::add_squared_norm(stream(), grads.tensor().slice(0, 0), state);
  EXPECT_EQ(state.download_state().grad_sq_sum, 0.0);
}

TEST_P(Optimizer, DecideClipsAsPyTorch) {
  ops::StepState before = fresh_state();
  before.grad_sq_sum = 16.0;
  const DeviceData state = DeviceData::step_state(stream(), before);
  ops::decide_step(stream(), {.state = state, .clip_grad = 1.0});
  ops::StepState after = state.download_state();
  EXPECT_EQ(after.grad_norm, 4.0);
  EXPECT_DOUBLE_EQ(after.grad_multiplier, 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(after.updates, 1);
  EXPECT_EQ(after.skip, 0);
  ops::decide_step(stream(), {.state = state, .clip_grad = 5.0});
  EXPECT_EQ(state.download_state().grad_multiplier, 1.0);
  ops::decide_step(stream(), {.state = state, .clip_grad = 0.0});
  EXPECT_EQ(state.download_state().grad_multiplier, 1.0);
  EXPECT_EQ(state.download_state().updates, 3);
}

TEST_P(Optimizer, DecideAdaptsTheLossScale) {
  ops::StepState before = fresh_state();
  before.loss_scale = 1024.0;
  before.grad_sq_sum = 1024.0 * 1024.0 * 9.0;
  const DeviceData state = DeviceData::step_state(stream(), before);
  const ops::DecideStep args = {.state = state, .clip_grad = 1.5, .dynamic_loss_scale = true, .growth_interval = 2};
  ops::decide_step(stream(), args);
  ops::StepState after = state.download_state();
  EXPECT_EQ(after.grad_norm, 3.0);
  EXPECT_DOUBLE_EQ(after.grad_multiplier, 1.5 / (3.0 + 1e-6) / 1024.0);
  EXPECT_EQ(after.loss_scale, 1024.0);
  EXPECT_EQ(after.finite_in_a_row, 1);
  ops::decide_step(stream(), args);
  EXPECT_EQ(state.download_state().loss_scale, 2048.0);
  EXPECT_EQ(state.download_state().finite_in_a_row, 0);

  for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    ops::StepState broken = state.download_state();
    broken.grad_sq_sum = bad;
    broken.loss_scale = 2048.0;
    const DeviceData other = DeviceData::step_state(stream(), broken);
    ops::DecideStep again = args;
    again.state = other;
    ops::decide_step(stream(), again);
    ops::decide_step(stream(), again);
    after = other.download_state();
    EXPECT_EQ(after.skip, 1);
    EXPECT_EQ(after.skipped, 2);
    EXPECT_EQ(after.skipped_in_a_row, 2);
    EXPECT_EQ(after.updates, 2);
    EXPECT_EQ(after.loss_scale, 512.0);
  }
  ops::StepState broken = fresh_state();
  broken.loss_sum = std::numeric_limits<double>::quiet_NaN();
  broken.grad_sq_sum = 1.0;
  const DeviceData other = DeviceData::step_state(stream(), broken);
  ops::decide_step(stream(), {.state = other});
  EXPECT_EQ(other.download_state().skip, 1);
  EXPECT_EQ(other.download_state().loss_scale, 1.0);
}

struct States {
  Matrix w, m, v;
};

struct Settings {
  double lr = 1e-2, beta1 = 0.9, beta2 = 0.98, eps = 1e-8, weight_decay = 0.1;
};

void reference_step(States& at, const Matrix& grads, const Settings& s, int t, double multiplier) {
  for (std::size_t i = 0; i < grads.values.size(); ++i) {
    const double g = grads.values[i] * multiplier;
    double &m = at.m.values[i], &v = at.v.values[i], &w = at.w.values[i];
    m = s.beta1 * m + (1.0 - s.beta1) * g;
    v = s.beta2 * v + (1.0 - s.beta2) * g * g;
    const double m_hat = m / (1.0 - std::pow(s.beta1, t)), v_hat = v / (1.0 - std::pow(s.beta2, t));
    w -= s.lr * (m_hat / (std::sqrt(v_hat) + s.eps) + s.weight_decay * w);
  }
}

/// What buffers are kept in.
struct Types {
  DType master = DType::kF32, exp_avg = DType::kF32, exp_avg_sq = DType::kF32;
};

/// States on a device, and what a step on them is called with.
struct Kept {
  DeviceData master, exp_avg, exp_avg_sq;

  Kept(Stream& stream, const Types& types, const States& values)
      : master(DeviceData::vector(stream, types.master, values.w)),
        exp_avg(DeviceData::vector(stream, types.exp_avg, values.m)),
        exp_avg_sq(DeviceData::vector(stream, types.exp_avg_sq, values.v)) {}

  ops::AdamW step(const Settings& s, const Tensor& grads, const Tensor& state, const Tensor& weights = {}) const {
    return {.grads = grads,
            .master = master,
            .exp_avg = exp_avg,
            .exp_avg_sq = exp_avg_sq,
            .weights = weights,
            .lr = s.lr,
            .beta1 = s.beta1,
            .beta2 = s.beta2,
            .eps = s.eps,
            .weight_decay = s.weight_decay,
            .seed = 99,
            .state = state};
  }
};

DeviceData state_of_update(Stream& stream, int updates, double grad_multiplier) {
  ops::StepState state = fresh_state();
  state.updates = updates;
  state.grad_multiplier = grad_multiplier;
  return DeviceData::step_state(stream, state);
}

/// The same update of the elements from `first` on.
ops::AdamW from_element(std::int64_t first, ops::AdamW args) {
  const std::int64_t size = args.grads.numel();
  for (Tensor* tensor : {&args.grads, &args.master, &args.exp_avg, &args.exp_avg_sq, &args.weights}) {
    *tensor = tensor->slice(first, size);
  }
  args.first_element = static_cast<std::uint64_t>(first);
  return args;
}

/// The compute weights are the master's, rounded.
void expect_published(const DeviceData& weights, const DeviceData& master, DType dtype) {
  Matrix kept = master.download();
  for (double& value : kept.values) value = rounded(value, dtype);
  EXPECT_EQ(weights.download().values, kept.values);
}

TEST_P(Optimizer, AdamWInF32) {
  const std::int64_t size = 5003;
  const Settings settings;
  States expected{random_matrix(1, size, DType::kF32, 1), filled(1, size, 0.0), filled(1, size, 0.0)};
  const Kept kept(stream(), {}, expected);
  const DeviceData weights = vector(expected.w);
  for (int t = 1; t <= 3; ++t) {
    const DType type = dtype() == DType::kBF16 ? DType::kBF16 : DType::kF32;
    const Matrix grads = random_matrix(1, size, type, 10 + static_cast<std::uint64_t>(t));
    const DeviceData grad_data = DeviceData::vector(stream(), type, grads), state = state_of_update(stream(), t, 0.5);
    ops::adamw(stream(), kept.step(settings, grad_data, state, weights));
    reference_step(expected, grads, settings, t, 0.5);
  }
  // each of three steps rounds a handful of times; |m| ≤ 3 and the update is at most about lr · 3 in size
  const auto bound = [&](const Matrix& of, double size_of_terms) {
    return [&of, size_of_terms](std::int64_t i, std::int64_t j) {
      return 30.0 * kF32 * (std::fabs(of(i, j)) + size_of_terms);
    };
  };
  expect_near(kept.master.download(), expected.w, bound(expected.w, 0.03), "master");
  expect_near(kept.exp_avg.download(), expected.m, bound(expected.m, 3.0), "exp_avg");
  expect_near(kept.exp_avg_sq.download(), expected.v, bound(expected.v, 0.0), "exp_avg_sq");
  expect_published(weights, kept.master, dtype());
}

TEST_P(Optimizer, SkipChangesNothing) {
  const Matrix start = random_matrix(1, 100, DType::kF32, 1);
  const Kept kept(stream(), {}, {start, start, start});
  const DeviceData weights = vector(filled(1, 100, 2.0)),
                   g = DeviceData::vector(stream(), DType::kF32, filled(1, 100, kF32));
  ops::StepState skipped = fresh_state();
  skipped.skip = 1;
  skipped.updates = 1;
  const DeviceData state = DeviceData::step_state(stream(), skipped);
  ops::adamw(stream(), kept.step({}, g, state, weights));
  for (const DeviceData* data : {&kept.master, &kept.exp_avg, &kept.exp_avg_sq}) {
    EXPECT_EQ(data->download().values, start.values);
  }
  EXPECT_EQ(weights.download().values, filled(1, 100, 2.0).values);
}

/// bf16 neighbours below and above, chosen by the 16 random bits: the rule of ops/adamw.h in plain code.
double stochastically_rounded(double value, std::uint32_t random) {
  const auto number = static_cast<float>(value);
  const std::uint32_t word = std::bit_cast<std::uint32_t>(number) + (random & 0xFFFFU);
  return static_cast<double>(std::bit_cast<float>(word & 0xFFFF0000U));
}

TEST_P(Optimizer, StatesInBF16RoundByPhilox) {
  if (dtype() != DType::kF32) return;
  const std::int64_t size = 1501;
  for (const std::uint64_t first : {0, 1, 1000003}) {
    const Matrix zero = filled(1, size, 0.0), grads = random_matrix(1, size, DType::kF32, 2);
    States expected{random_matrix(1, size, DType::kBF16, 1), zero, zero};
    const Kept kept(stream(), {DType::kBF16, DType::kBF16, DType::kBF16}, expected);
    const DeviceData g = DeviceData::vector(stream(), DType::kF32, grads),
                     weights = DeviceData::vector(stream(), DType::kBF16, zero),
                     state = state_of_update(stream(), 1, 1.0);
    ops::AdamW args = kept.step({}, g, state, weights);
    args.first_element = first;
    ops::adamw(stream(), args);
    reference_step(expected, grads, {}, 1, 1.0);
    const Philox random{99, 1};
    const Matrix got_w = kept.master.download(), got_m = kept.exp_avg.download(), got_v = kept.exp_avg_sq.download();
    int different = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      const std::uint64_t element = first + static_cast<std::uint64_t>(i);
      const auto words = random.block(element / 2);
      const std::uint32_t low = words[2 * (element % 2)], high = words[2 * (element % 2) + 1];
      different += got_w(0, i) != stochastically_rounded(expected.w(0, i), low) ? 1 : 0;
      different += got_m(0, i) != stochastically_rounded(expected.m(0, i), low >> 16) ? 1 : 0;
      different += got_v(0, i) != stochastically_rounded(expected.v(0, i), high) ? 1 : 0;
    }
    // f32 arithmetic differs from double in the last bits, which tips a rounding once in 2^16 / a few
    EXPECT_LE(different, 5);
    EXPECT_EQ(weights.download().values, got_w.values);
  }
}

Matrix second_moments(std::int64_t size, DType dtype) {
  Matrix moments = random_matrix(1, size, dtype, 4);
  for (double& v : moments.values) v = rounded(std::fabs(v) + 0.25, dtype);
  return moments;
}

/// All types of gradients and states, from an address where packs of elements are aligned and from one where not.
TEST_P(Optimizer, EveryCombinationOfTypes) {
  if (dtype() == DType::kF16) return;
  const std::int64_t size = 1201;
  const Settings settings;
  const DeviceData state = state_of_update(stream(), 2, 0.5);
  const DType types[] = {DType::kF32, DType::kBF16};
  for (int combination = 0; combination < 32; ++combination) {
    SCOPED_TRACE(combination);
    const auto type_of = [&](int bit) { return types[combination >> bit & 1]; };
    const std::int64_t first = combination >> 4;  // element of the buffers that the update begins with
    const Types kept_types = {type_of(1), type_of(2), type_of(3)};
    const Matrix grads = random_matrix(1, size, type_of(0), 1);
    const States before{random_matrix(1, size, type_of(1), 2), random_matrix(1, size, type_of(2), 3),
                        second_moments(size, type_of(3))};
    const Kept kept(stream(), kept_types, before);
    const DeviceData g = DeviceData::vector(stream(), type_of(0), grads), weights = vector(before.w);
    ops::adamw(stream(), from_element(first, kept.step(settings, g, state, weights)));
    States expected = before;
    reference_step(expected, grads, settings, 2, 0.5);
    // a handful of f32 roundings, and stochastic rounding, which moves a number by less than a step of its type
    const auto check = [&](const DeviceData& found, const Matrix& start, Matrix want, DType type, const char* what) {
      const double step = type == DType::kF32 ? 0.0 : 2.0 * unit_roundoff(type);
      if (first == 1) want(0, 0) = start(0, 0);
      expect_near(
          found.download(), want,
          [&](std::int64_t, std::int64_t i) { return (step + 16.0 * kF32) * std::fabs(want(0, i)) + 16.0 * kF32; },
          what);
    };
    check(kept.master, before.w, expected.w, type_of(1), "master");
    check(kept.exp_avg, before.m, expected.m, type_of(2), "exp_avg");
    check(kept.exp_avg_sq, before.v, expected.v, type_of(3), "exp_avg_sq");
    expect_published(weights, kept.master, dtype());
  }
}

/// Zeros, numbers whose squares are next to nothing, infinities and NaN, each among ordinary neighbours.
TEST_P(Optimizer, ExtraordinaryGradientsStayAlone) {
  if (dtype() == DType::kF16) return;
  const std::int64_t size = 1201;
  const double extraordinary[] = {0.0, 1e-17, -std::numeric_limits<double>::infinity(),
                                  std::numeric_limits<double>::quiet_NaN()};
  Matrix grads = random_matrix(1, size, dtype(), 1);
  for (std::int64_t i = 0; i < size; i += 7) grads(0, i) = rounded(extraordinary[i / 7 % 4], dtype());
  States expected{random_matrix(1, size, dtype(), 2), filled(1, size, 0.0), filled(1, size, 0.0)};
  const Kept kept(stream(), {dtype(), dtype(), dtype()}, expected);
  ops::adamw(stream(), kept.step({}, vector(grads), state_of_update(stream(), 1, 1.0)));
  reference_step(expected, grads, {}, 1, 1.0);
  // as in EveryCombinationOfTypes
  const double step = dtype() == DType::kF32 ? 0.0 : 2.0 * unit_roundoff(dtype());
  const auto check = [&](const DeviceData& data, const Matrix& want, const char* what) {
    const Matrix found = data.download();
    for (std::int64_t i = 0; i < size; ++i) {
      const double x = want(0, i);
      if (std::isfinite(x)) {
        EXPECT_NEAR(found(0, i), x, (step + 16.0 * kF32) * std::fabs(x) + 16.0 * kF32) << what << ' ' << i;
      } else if (std::isnan(x)) {
        EXPECT_TRUE(std::isnan(found(0, i))) << what << ' ' << i << ": " << found(0, i);
      } else {
        EXPECT_EQ(found(0, i), x) << what << ' ' << i;
      }
    }
  };
  check(kept.master, expected.w, "master");
  check(kept.exp_avg, expected.m, "exp_avg");
  check(kept.exp_avg_sq, expected.v, "exp_avg_sq");
}

TEST_P(Optimizer, ASliceIsUpdatedAsTheWhole) {
  if (dtype() != DType::kF32) return;
  const std::int64_t size = 1201;
  const Matrix start = random_matrix(1, size, DType::kBF16, 1), zero = filled(1, size, 0.0);
  const DeviceData state = state_of_update(stream(), 2, 1.0),
                   g = DeviceData::vector(stream(), DType::kBF16, random_matrix(1, size, DType::kBF16, 2));
  const auto updated_from = [&](std::int64_t first) {
    const Kept kept(stream(), {DType::kBF16, DType::kF32, DType::kBF16}, {start, zero, zero});
    const DeviceData weights = DeviceData::vector(stream(), DType::kBF16, start);
    ops::adamw(stream(), from_element(first, kept.step({}, g, state, weights)));
    return std::vector<Matrix>{kept.master.download(), kept.exp_avg.download(), kept.exp_avg_sq.download(),
                               weights.download()};
  };
  const std::vector<Matrix> whole = updated_from(0), slice = updated_from(1);
  for (std::size_t which = 0; which < whole.size(); ++which) {
    EXPECT_TRUE(
        std::equal(whole[which].values.begin() + 1, whole[which].values.end(), slice[which].values.begin() + 1));
  }
  EXPECT_EQ(slice[0](0, 0), start(0, 0));
}

TEST_P(Optimizer, SmallUpdatesAreNotLostInBF16) {
  if (dtype() != DType::kF32) return;
  // an update of 2^-12 of the weight is far below bf16's half step of 2^-9: kept on average only
  const std::int64_t size = 20000;
  const Matrix one = filled(1, size, 1.0), zero = filled(1, size, 0.0);
  const Kept kept(stream(), {.master = DType::kBF16}, {one, zero, zero});
  const DeviceData g = DeviceData::vector(stream(), DType::kF32, one), state = state_of_update(stream(), 1, 1.0);
  ops::adamw(stream(), kept.step({.lr = 0x1p-12, .weight_decay = 0.0}, g, state));
  double sum = 0.0;
  for (const double value : kept.master.download().values) sum += value;
  // each weight falls by 2^-8 with probability 2^-4: the mean's deviation is 2^-8 · √(2^-4 / size)
  EXPECT_NEAR(sum / static_cast<double>(size), 1.0 - 0x1p-12, 5.0 * 0x1p-8 * std::sqrt(0x1p-4 / 20000.0));
}

TEST_P(Optimizer, AdamWIsTheSameForAnyThreads) {
  const std::int64_t size = 60000;
  const Matrix start = random_matrix(1, size, DType::kBF16, 2), zero = filled(1, size, 0.0);
  const DeviceData g = DeviceData::vector(stream(), DType::kF32, random_matrix(1, size, DType::kF32, 1)),
                   state = state_of_update(stream(), 4, 1.0);
  expect_same_for_any_threads([&] {
    const Kept kept(stream(), {.master = DType::kBF16, .exp_avg = DType::kBF16}, {start, zero, zero});
    ops::adamw(stream(), kept.step({}, g, state));
    return kept.master.download_bytes();
  });
}

}  // namespace
}  // namespace primus::test
