#include "ops/rms_norm.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(RmsNorm);

constexpr double kEps = 1e-5;

struct Shape {
  std::int64_t tokens, hidden;
};
constexpr Shape kShapes[] = {{1, 1},    {3, 7},    {5, 64},    {131, 67}, {70, 130}, {600, 72},
                             {7, 4096}, {3, 6144}, {2, 12000}, {2, 4099}, {2, 16456}};

struct ShapeAndGap {
  std::int64_t tokens, hidden, gap;
};
std::vector<ShapeAndGap> shapes_and_gaps() {
  std::vector<ShapeAndGap> all;
  for (const Shape& shape : kShapes) {
    for (const std::int64_t gap : kGapUnits) all.push_back({shape.tokens, shape.hidden, gap});
  }
  return all;
}

Matrix rstd_of(const Matrix& x) {
  Matrix rstd(1, x.rows);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    double squares = 0.0;
    for (std::int64_t j = 0; j < x.columns; ++j) squares += x(t, j) * x(t, j);
    rstd(0, t) = 1.0 / std::sqrt(squares / static_cast<double>(x.columns) + kEps);
  }
  return rstd;
}

Matrix norm_of(const Matrix& x, const Matrix& weight) {
  const Matrix rstd = rstd_of(x);
  Matrix y(x.rows, x.columns);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    for (std::int64_t j = 0; j < x.columns; ++j) y(t, j) = x(t, j) * rstd(0, t) * weight(0, j);
  }
  return y;
}

struct Gradients {
  Matrix dx, dx_magnitude, d_weight, d_weight_magnitude;
};

Gradients gradients_of(const Matrix& dy, const Matrix& x, const Matrix& weight, const Matrix& rstd) {
  Gradients g{Matrix(x.rows, x.columns), Matrix(x.rows, x.columns), Matrix(1, x.columns), Matrix(1, x.columns)};
  const auto hidden = static_cast<double>(x.columns);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    double mean = 0.0, mean_magnitude = 0.0;
    for (std::int64_t j = 0; j < x.columns; ++j) {
      const double term = dy(t, j) * weight(0, j) * x(t, j) * rstd(0, t) / hidden;
      mean += term;
      mean_magnitude += std::fabs(term);
    }
    for (std::int64_t j = 0; j < x.columns; ++j) {
      const double normed = x(t, j) * rstd(0, t);
      g.dx(t, j) = rstd(0, t) * (dy(t, j) * weight(0, j) - normed * mean);
      g.dx_magnitude(t, j) = rstd(0, t) * (std::fabs(dy(t, j) * weight(0, j)) + std::fabs(normed) * mean_magnitude);
      g.d_weight(0, j) += dy(t, j) * normed;
      g.d_weight_magnitude(0, j) += std::fabs(dy(t, j) * normed);
    }
  }
  return g;
}

/// A sum of H squares errs by up to H · 2^-24, its root by half of that.
double forward_error(std::int64_t hidden, DType dtype) {
  return (0.5 * static_cast<double>(hidden) + 8.0) * kF32 + (dtype == DType::kF32 ? 0.0 : 2.02 * unit_roundoff(dtype));
}

TEST_P(RmsNorm, Forward) {
  for (const auto& [tokens, hidden, gap] : shapes_and_gaps()) {
    const Matrix x = random_matrix(tokens, hidden, dtype(), 1, 3.0), weight = random_matrix(1, hidden, dtype(), 2);
    const DeviceData x_data = matrix(x, 3 * gap), weight_data = vector(weight),
                     y = matrix(filled(tokens, hidden, 9.0), 5 * gap),
                     rstd = DeviceData::vector(stream(), DType::kF32, filled(1, tokens, 0.0));
    ops::rms_norm_forward(stream(), {x_data, weight_data, static_cast<float>(kEps), y, rstd});
    expect_relative(y.download(), norm_of(x, weight), forward_error(hidden, dtype()), dtype(), "y");
    expect_relative(rstd.download(), rstd_of(x), forward_error(hidden, DType::kF32), DType::kF32, "rstd");
    ops::rms_norm_forward(stream(), {x_data, weight_data, static_cast<float>(kEps), y, {}});  // without rstd
  }
}

TEST_P(RmsNorm, RoundsTheNormedValueFirst) {
  if (dtype() == DType::kF32) return;
  // weights with as many bits as the type has, so that one rounding and two differ often
  const Matrix x = random_matrix(40, 64, dtype(), 1), weight = random_matrix(1, 64, dtype(), 2), rstd = rstd_of(x);
  const DeviceData x_data = matrix(x), weight_data = vector(weight), y = matrix(filled(40, 64, 0.0));
  ops::rms_norm_forward(stream(), {x_data, weight_data, static_cast<float>(kEps), y, {}});
  const Matrix actual = y.download();
  int different = 0;
  for (std::int64_t t = 0; t < 40; ++t) {
    for (std::int64_t j = 0; j < 64; ++j) {
      different += actual(t, j) != rounded(rounded(x(t, j) * rstd(0, t), dtype()) * weight(0, j), dtype()) ? 1 : 0;
    }
  }
  // only where f32 and f64 fall to different sides of a tie; rounding once would differ in about a quarter
  EXPECT_LE(different, 40 * 64 / 100);
}

TEST_P(RmsNorm, ReferenceGradientsAreFiniteDifferences) {
  const Matrix x = random_matrix(2, 7, DType::kF32, 1), weight = random_matrix(1, 7, DType::kF32, 2),
               dy = random_matrix(2, 7, DType::kF32, 3);
  const auto loss = [&](const Matrix& at, const Matrix& scale) {
    const Matrix y = norm_of(at, scale);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.values.size(); ++i) sum += y.values[i] * dy.values[i];
    return sum;
  };
  const Gradients g = gradients_of(dy, x, weight, rstd_of(x));
  const auto near = [](std::int64_t, std::int64_t) { return 1e-8; };
  expect_near(g.dx, finite_differences(x, [&](const Matrix& at) { return loss(at, weight); }), near, "dx");
  expect_near(g.d_weight, finite_differences(weight, [&](const Matrix& at) { return loss(x, at); }), near, "d_weight");
}

TEST_P(RmsNorm, Backward) {
  enum class Alias { kNone, kResidualIsDx, kDyIsDx, kNoResidual };
  const auto is_trained = [](Alias alias) { return alias != Alias::kResidualIsDx; };  // the weight
  for (const auto& [tokens, hidden, gap] : shapes_and_gaps()) {
    for (const Alias alias : {Alias::kNone, Alias::kResidualIsDx, Alias::kDyIsDx, Alias::kNoResidual}) {
      const DType target = alias == Alias::kNone ? DType::kBF16 : DType::kF32;
      const Matrix x = random_matrix(tokens, hidden, dtype(), 1), weight = random_matrix(1, hidden, dtype(), 2),
                   dy = random_matrix(tokens, hidden, dtype(), 3), residual = random_matrix(tokens, hidden, dtype(), 4),
                   before = random_matrix(1, hidden, target, 5);
      Matrix rstd = rstd_of(x);
      for (double& value : rstd.values) value = rounded(value, DType::kF32);
      const DeviceData x_data = matrix(x, 3 * gap), weight_data = vector(weight), dy_data = matrix(dy, 2 * gap),
                       residual_data = matrix(residual, 4 * gap), dx_data = matrix(filled(tokens, hidden, 9.0), gap),
                       rstd_data = DeviceData::vector(stream(), DType::kF32, rstd),
                       d_weight = DeviceData::vector(stream(), target, before);
      const DeviceData& dx = alias == Alias::kResidualIsDx ? residual_data
                             : alias == Alias::kDyIsDx     ? dy_data
                                                           : dx_data;
      ops::rms_norm_backward(stream(), {dy_data, x_data, weight_data, rstd_data,
                                        alias == Alias::kNoResidual ? Tensor() : residual_data.tensor(), dx,
                                        is_trained(alias) ? d_weight.tensor() : Tensor()});
      Gradients g = gradients_of(dy, x, weight, rstd);
      for (std::size_t i = 0; alias != Alias::kNoResidual && i < residual.values.size(); ++i) {
        g.dx.values[i] += residual.values[i];
        g.dx_magnitude.values[i] += std::fabs(residual.values[i]);
      }
      const double of_hidden = (static_cast<double>(hidden) + 8.0) * kF32,
                   of_tokens = (static_cast<double>(tokens) + 8.0) * kF32;
      expect_near(
          dx.download(), g.dx,
          [&](std::int64_t t, std::int64_t j) {
            return of_hidden * g.dx_magnitude(t, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(g.dx(t, j)) +
                   smallest_normal(dtype()) * unit_roundoff(dtype());
          },
          "dx");
      Matrix expected = before;
      for (std::int64_t j = 0; is_trained(alias) && j < hidden; ++j) expected(0, j) += g.d_weight(0, j);
      expect_near(
          d_weight.download(), expected,
          [&](std::int64_t, std::int64_t j) {
            return of_tokens * (g.d_weight_magnitude(0, j) + std::fabs(before(0, j))) +
                   1.01 * unit_roundoff(target) * std::fabs(expected(0, j));
          },
          "d_weight");
    }
  }
}

TEST_P(RmsNorm, BackwardIsTheSameForAnyThreads) {
  const std::int64_t tokens = 500, hidden = 72;
  const Matrix x = random_matrix(tokens, hidden, dtype(), 1);
  const DeviceData x_data = matrix(x), weight = vector(random_matrix(1, hidden, dtype(), 2)),
                   dy = matrix(random_matrix(tokens, hidden, dtype(), 3)), dx = matrix(x),
                   rstd = DeviceData::vector(stream(), DType::kF32, rstd_of(x));
  expect_same_for_any_threads([&] {
    const DeviceData d_weight = DeviceData::vector(stream(), DType::kF32, filled(1, hidden, 0.0));
    ops::rms_norm_backward(stream(), {dy, x_data, weight, rstd, {}, dx, d_weight});
    return d_weight.download_bytes();
  });
}

TEST_P(RmsNorm, AddInPlace) {
  for (const std::int64_t gap : kGapUnits) {
    const std::int64_t hidden = gap == 1 ? 61 : 64;
    const Matrix x = random_matrix(37, hidden, dtype(), 1), delta = random_matrix(37, hidden, dtype(), 2);
    Matrix sum(37, hidden);
    for (std::size_t i = 0; i < sum.values.size(); ++i) {
      sum.values[i] = rounded(x.values[i] + delta.values[i], dtype());
    }
    const DeviceData x_data = matrix(x, gap), delta_data = matrix(delta, 2 * gap), out = matrix(x, 3 * gap);
    ops::add(stream(), {x_data, delta_data, out});
    EXPECT_EQ(out.download().values, sum.values);
    ops::add(stream(), {x_data, delta_data, x_data});
    EXPECT_EQ(x_data.download().values, sum.values);
  }
}

}  // namespace
}  // namespace primus::test
