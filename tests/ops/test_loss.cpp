#include <limits>

#include "ops/elementwise.h"
#include "ops/loss.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(CrossEntropy);

struct Shape {
  std::int64_t rows, vocabulary;
};
/// The last two: more rows than are handled at once, and a row that no multiprocessors can keep.
std::vector<Shape> shapes() {
  if (wants_small_shapes()) return {{1, 1}, {3, 17}, {5, 2003}, {2, 2048}, {600, 64}, {1, 500004}};
  return {{1, 1}, {3, 17}, {21, 5003}, {2, 2048}, {5, 4097}, {600, 512}, {3, 100000}, {2500, 64}, {2, 500004}};
}

struct Expected {
  Matrix loss, d_logits;
};

Expected expected_of(const Matrix& logits, const std::vector<std::int32_t>& targets, double scale) {
  Expected result{Matrix(1, logits.rows), Matrix(logits.rows, logits.columns)};
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    double highest = -std::numeric_limits<double>::infinity(), sum = 0.0;
    for (std::int64_t j = 0; j < logits.columns; ++j) highest = std::max(highest, logits(i, j));
    for (std::int64_t j = 0; j < logits.columns; ++j) sum += std::exp(logits(i, j) - highest);
    const double log_sum = highest + std::log(sum);
    const std::int32_t target = targets[static_cast<std::size_t>(i)];
    result.loss(0, i) = log_sum - logits(i, target);
    for (std::int64_t j = 0; j < logits.columns; ++j) {
      result.d_logits(i, j) = (std::exp(logits(i, j) - log_sum) - (j == target ? 1.0 : 0.0)) * scale;
    }
  }
  return result;
}

std::vector<std::int32_t> targets_of(const Shape& shape) {
  std::vector<std::int32_t> targets;
  for (std::int64_t i = 0; i < shape.rows; ++i) {
    targets.push_back(static_cast<std::int32_t>((i * 1237 + shape.vocabulary - 1) % shape.vocabulary));
  }
  return targets;
}

ops::StepState state_with_scale(double loss_scale) {
  ops::StepState state{};
  state.loss_scale = loss_scale;
  return state;
}

/// The log-sum-exp is at most some 30 in size, so its f32 holds it to 30 · 2^-24; the sum inside adds its terms a lane
/// at a time (terms / 4 roundings at worst, of positive numbers).
double error_of_log_sum(std::int64_t vocabulary) { return (static_cast<double>(vocabulary) / 4.0 + 64.0) * kF32; }

/// A matrix of another type whose rows begin where those of `matrix` begin.
Tensor at_rows_of(const Tensor& matrix, DType dtype) {
  const auto row_stride = matrix.row_stride() * static_cast<std::int64_t>(size_of(matrix.dtype()) / size_of(dtype));
  return {matrix.data(), dtype, matrix.device(), matrix.rows(), matrix.columns(), row_stride};
}

TEST_P(CrossEntropy, ForwardAndGradientInPlace) {
  for (const Shape& shape : shapes()) {
    for (const DType logits_type : {dtype(), DType::kF32}) {
      const double scale = 1.0 / 64.0, loss_scale = 8.0;
      const Matrix logits = random_matrix(shape.rows, shape.vocabulary, logits_type, 1, 4.0);
      const std::vector<std::int32_t> targets = targets_of(shape);
      const std::int64_t gap = kGapUnits[shape.vocabulary % 8 == 0 ? 1 : 0];
      const DeviceData logits_data(stream(), logits_type, logits, 3 * gap),
          target_data = DeviceData::integers(stream(), targets),
          loss = DeviceData::vector(stream(), DType::kF32, filled(1, shape.rows, 9.0)),
          d_logits = matrix(filled(shape.rows, shape.vocabulary, 9.0), gap),
          state = DeviceData::step_state(stream(), state_with_scale(loss_scale));
      const Expected expected = expected_of(logits, targets, scale * loss_scale);
      const double error = error_of_log_sum(shape.vocabulary);
      const auto check_loss = [&] {
        expect_near(
            loss.download(), expected.loss,
            [&](std::int64_t, std::int64_t i) { return error + 2.0 * kF32 * std::fabs(expected.loss(0, i)); }, "loss");
      };
      const auto check_gradient = [&](const DeviceData& actual) {
        expect_near(
            actual.download(), expected.d_logits,
            [&](std::int64_t i, std::int64_t j) {
              const bool is_target = j == targets[static_cast<std::size_t>(i)];
              const double size = std::fabs(expected.d_logits(i, j)) + (is_target ? scale * loss_scale : 0.0);
              return 2.0 * error * size + 1.01 * unit_roundoff(dtype()) * std::fabs(expected.d_logits(i, j)) +
                     smallest_normal(dtype()) * 2.0 * unit_roundoff(dtype());
            },
            "d_logits");
      };
      ops::cross_entropy_forward(stream(), {logits_data, target_data, loss});
      check_loss();
      ops::cross_entropy_forward_backward(stream(),
                                          {logits_data, target_data, loss, static_cast<float>(scale), state, d_logits});
      check_loss();
      check_gradient(d_logits);
      const DeviceData copy = matrix(filled(shape.rows, shape.vocabulary, 9.0), gap);
      const Tensor in_place = at_rows_of(logits_data, dtype());
      ops::cross_entropy_forward_backward(stream(),
                                          {logits_data, target_data, loss, static_cast<float>(scale), state, in_place});
      ops::convert(stream(), {.in = in_place, .out = copy});
      check_loss();
      check_gradient(copy);
    }
  }
}

TEST_P(CrossEntropy, BlocksThatShareARowStepThroughRows) {
  if (stream().device().type == DeviceType::kCpu) return;
  const Shape shape = {wants_small_shapes() ? 70 : 100, 100000};  // a GPU has room for some 60 of them at once
  const Matrix all = random_matrix(shape.rows, shape.vocabulary, DType::kF32, 1, 4.0);
  const std::vector<std::int32_t> targets = targets_of(shape);
  const DeviceData logits(stream(), DType::kF32, all),
      target_data = DeviceData::integers(stream(), targets),
      loss = DeviceData::vector(stream(), DType::kF32, filled(1, shape.rows, 9.0)),
      state = DeviceData::step_state(stream(), state_with_scale(1.0)), d_logits = matrix(all);
  const Tensor in_place = at_rows_of(logits, dtype());
  ops::cross_entropy_forward_backward(stream(), {logits, target_data, loss, 1.0F, state, in_place});
  ops::convert(stream(), {.in = in_place, .out = d_logits});
  const Matrix losses = loss.download(), gradients = d_logits.download();
  const double error = error_of_log_sum(shape.vocabulary);
  for (const std::int64_t row : {std::int64_t{0}, std::int64_t{1}, std::int64_t{65}, shape.rows - 2, shape.rows - 1}) {
    Matrix logits_of_row(1, shape.vocabulary), found(1, shape.vocabulary);
    for (std::int64_t j = 0; j < shape.vocabulary; ++j) {
      logits_of_row(0, j) = all(row, j);
      found(0, j) = gradients(row, j);
    }
    const std::int32_t target = targets[static_cast<std::size_t>(row)];
    const Expected expected = expected_of(logits_of_row, {target}, 1.0);
    EXPECT_NEAR(losses(0, row), expected.loss(0, 0), error + 2.0 * kF32 * std::fabs(expected.loss(0, 0)));
    expect_near(
        found, expected.d_logits,
        [&](std::int64_t, std::int64_t j) {
          const double size = std::fabs(expected.d_logits(0, j)) + (j == target ? 1.0 : 0.0);
          return (2.0 * error + 1.01 * unit_roundoff(dtype())) * size +
                 smallest_normal(dtype()) * 2.0 * unit_roundoff(dtype());
        },
        "d_logits");
  }
}

TEST_P(CrossEntropy, ReferenceGradientIsFiniteDifferences) {
  const Matrix logits = random_matrix(1, 7, DType::kF32, 1);
  const Expected expected = expected_of(logits, {2}, 1.0);
  expect_near(
      expected.d_logits,
      finite_differences(logits, [&](const Matrix& at) { return expected_of(at, {2}, 1.0).loss(0, 0); }),
      [](std::int64_t, std::int64_t) { return 1e-8; }, "d_logits");
}

TEST_P(CrossEntropy, LargeAndMaskedLogits) {
  Matrix logits = filled(2, 5000, -std::numeric_limits<double>::infinity());  // masked but for two
  logits(0, 4321) = rounded(3000.0, dtype());
  logits(0, 17) = rounded(2990.0, dtype());
  logits(1, 4999) = -30000.0;
  logits(1, 0) = -30000.0;
  const DeviceData data = matrix(logits), targets = DeviceData::integers(stream(), {17, 4999}),
                   loss = DeviceData::vector(stream(), DType::kF32, filled(1, 2, 9.0));
  ops::cross_entropy_forward(stream(), {data, targets, loss});
  const Expected expected = expected_of(logits, {17, 4999}, 1.0);
  expect_near(
      loss.download(), expected.loss, [](std::int64_t, std::int64_t) { return 30000.0 * 2.0 * kF32; }, "loss");
}

TEST_P(CrossEntropy, NanAndInfinityReachTheLoss) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Matrix logits = random_matrix(1, 3000, dtype(), 1);
    logits(0, 2999) = bad;
    const DeviceData data = matrix(logits), targets = DeviceData::integers(stream(), {5}),
                     loss = DeviceData::vector(stream(), DType::kF32, filled(1, 1, 9.0));
    ops::cross_entropy_forward(stream(), {data, targets, loss});
    EXPECT_FALSE(std::isfinite(loss.download()(0, 0)));
  }
}

TEST_P(CrossEntropy, SameForAnyThreads) {
  const DeviceData logits = matrix(random_matrix(40, 3001, dtype(), 1)),
                   targets = DeviceData::integers(stream(), targets_of({40, 3001})),
                   state = DeviceData::step_state(stream(), state_with_scale(1.0)), d_logits = matrix(Matrix(40, 3001)),
                   loss = DeviceData::vector(stream(), DType::kF32, filled(1, 40, 9.0));
  expect_same_for_any_threads([&] {
    ops::cross_entropy_forward_backward(stream(), {logits, targets, loss, 1.0F, state, d_logits});
    return d_logits.download_bytes();
  });
}

}  // namespace
}  // namespace primus::test
