#include <limits>

#include "ops/cpu/kernels.h"
#include "ops/elementwise.h"
#include "ops/swiglu.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(Elementwise);

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST_P(Elementwise, ConvertRoundsToNearest) {
  for (const DType target : compute_types()) {
    for (const std::int64_t gap : {0, 3, 8}) {
      const std::int64_t width = gap == 8 ? 56 : 51;
      Matrix in = random_matrix(37, width, dtype(), 1);
      in(0, 0) = kInfinity;
      in(0, 1) = -kInfinity;
      in(0, 2) = 0.0;
      in(0, 3) = rounded(65504.0, dtype());
      in(0, 4) = rounded(-1e-7, dtype());
      const DeviceData in_data = matrix(in, gap), out(stream(), target, filled(37, width, 9.0), 2 * gap);
      for (const double scale : {1.0, 0.5}) {
        ops::convert(stream(), {in_data, out, static_cast<float>(scale)});
        Matrix expected = in;
        for (double& value : expected.values) value = rounded(value * scale, target);
        EXPECT_EQ(out.download().values, expected.values) << name_of(target);
      }
    }
  }
}

TEST_P(Elementwise, ConvertKeepsNan) {
  for (const DType target : compute_types()) {
    const DeviceData in = matrix(filled(3, 21, std::numeric_limits<double>::quiet_NaN())),
                     out(stream(), target, filled(3, 21, 1.0));
    ops::convert(stream(), {in, out});
    for (const double value : out.download().values) EXPECT_TRUE(std::isnan(value));
  }
}

TEST_P(Elementwise, ConvertTakesVectors) {
  for (const std::int64_t size : {10007, 10008}) {
    const Matrix in = random_matrix(1, size, dtype(), 1);
    const DeviceData in_data = vector(in), out = DeviceData::vector(stream(), DType::kF32, filled(1, size, 0.0));
    ops::convert(stream(), {in_data, out});
    EXPECT_EQ(out.download().values, in.values);
  }
}

TEST_P(Elementwise, DropoutFollowsPhilox) {
  for (const std::int64_t gap : kGapUnits) {
    const Matrix x = random_matrix(61, gap == 1 ? 77 : 72, dtype(), 1);
    const DeviceData x_data = matrix(x, 2 * gap), out = matrix(x, gap);
    const Philox random{77, 5};
    for (const float probability : {0.0F, 0.1F, 0.5F}) {
      ops::dropout(stream(), {x_data, out, probability, 77, 5});
      Matrix expected = x;
      for (std::size_t i = 0; i < x.values.size(); ++i) {
        const bool kept = random.uniform(i) >= probability;
        const float factor = 1.0F / (1.0F - probability);
        expected.values[i] = kept ? x.values[i] * static_cast<double>(factor) : 0.0;
      }
      expect_relative(out.download(), expected, 1.01 * unit_roundoff(dtype()) + kF32, dtype(), "dropout");
    }
    ops::dropout(stream(), {x_data, x_data, 0.1F, 77, 5});  // in place
    ops::dropout(stream(), {out, out, 0.0F, 77, 5});
  }
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }

TEST_P(Elementwise, SwigluForward) {
  for (const std::int64_t gap : kGapUnits) {
    const std::int64_t tokens = 43, width = gap == 1 ? 53 : 56;
    Matrix gate_up = random_matrix(tokens, 2 * width, dtype(), 1, 4.0);
    gate_up(0, 0) = 100.0;  // far out on both sides
    gate_up(0, 1) = -100.0;
    gate_up(0, 2) = 0.0;
    const DeviceData gate_up_data = matrix(gate_up, 3 * gap), out = matrix(filled(tokens, width, 9.0), 2 * gap);
    ops::swiglu_forward(stream(), {gate_up_data, out});
    Matrix expected(tokens, width);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t j = 0; j < width; ++j) expected(t, j) = silu(gate_up(t, j)) * gate_up(t, width + j);
    }
    // exp (2 units in f32), sum, quotient, product; below −88 the kernels' silu is zero, where it is less than 2^-121
    expect_near(
        out.download(), expected,
        [&](std::int64_t t, std::int64_t j) {
          return (8.0 * kF32 + 1.01 * unit_roundoff(dtype())) * std::fabs(expected(t, j)) +
                 0x1p-121 * std::fabs(gate_up(t, width + j)) + smallest_normal(dtype()) * unit_roundoff(dtype());
        },
        "swiglu");
  }
}

TEST_P(Elementwise, SwigluBackwardInPlace) {
  for (const std::int64_t gap : kGapUnits) {
    const std::int64_t tokens = 43, width = gap == 1 ? 53 : 56;
    const Matrix gate_up = random_matrix(tokens, 2 * width, dtype(), 1, 4.0),
                 d_out = random_matrix(tokens, width, dtype(), 2);
    Matrix expected(tokens, 2 * width), magnitude = expected;
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t j = 0; j < width; ++j) {
        const double g = gate_up(t, j), u = gate_up(t, width + j), d = d_out(t, j), h = 1e-5;
        const double slope = (silu(g + h) - silu(g - h)) / (2.0 * h);
        const double sigmoid = 1.0 / (1.0 + std::exp(-g));
        const double exact = sigmoid * (1.0 + g * (1.0 - sigmoid));
        EXPECT_NEAR(slope, exact, 1e-9);
        expected(t, j) = d * u * exact;
        expected(t, width + j) = d * silu(g);
        magnitude(t, j) = std::fabs(d * u) * sigmoid * (1.0 + std::fabs(g) * (1.0 - sigmoid));
        // 1 − sigmoid is formed by a subtraction: an error of 2^-24 of one, times |g|·sigmoid
        magnitude(t, j) += std::fabs(d * u * g) * sigmoid;
        magnitude(t, width + j) = std::fabs(expected(t, width + j));
      }
    }
    const DeviceData gate_up_data = matrix(gate_up, 3 * gap), d_out_data = matrix(d_out, gap),
                     d_gate_up = matrix(filled(tokens, 2 * width, 9.0), 2 * gap);
    const auto check = [&](const DeviceData& actual) {
      expect_near(
          actual.download(), expected,
          [&](std::int64_t t, std::int64_t j) {
            return 10.0 * kF32 * magnitude(t, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(expected(t, j)) +
                   smallest_normal(dtype()) * 2.0 * unit_roundoff(dtype());
          },
          "d_gate_up");
    };
    ops::swiglu_backward(stream(), {d_out_data, gate_up_data, d_gate_up, {}});
    check(d_gate_up);
    ops::swiglu_backward(stream(), {d_out_data, gate_up_data, gate_up_data, d_out_data});
    check(gate_up_data);
    Matrix out(tokens, width);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t j = 0; j < width; ++j) out(t, j) = silu(gate_up(t, j)) * gate_up(t, width + j);
    }
    expect_relative(d_out_data.download(), out, 10.0 * kF32 + 1.01 * unit_roundoff(dtype()), dtype(), "out");
  }
}

TEST_P(Elementwise, ExponentialOfTheKernels) {
  if (!on_cpu() || dtype() != DType::kF32) return;
  std::vector<float> in, out;
  for (double x = -87.3; x < 88.3; x += 0.00037) in.push_back(static_cast<float>(x));
  out.resize(in.size());
  ops::cpu::kernels().exponential(in.data(), out.data(), static_cast<std::int64_t>(in.size()));
  double worst = 0.0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double exact = std::exp(static_cast<double>(in[i]));
    worst = std::max(worst, std::fabs(static_cast<double>(out[i]) - exact) / exact);
  }
  EXPECT_LT(worst, 1.3e-7);
  const float infinity = std::numeric_limits<float>::infinity();
  in = {0.0F, -infinity, infinity, -1000.0F, 1000.0F, -87.4F, 88.8F, std::numeric_limits<float>::quiet_NaN()};
  out.resize(in.size());
  ops::cpu::kernels().exponential(in.data(), out.data(), static_cast<std::int64_t>(in.size()));
  EXPECT_EQ(std::vector<float>(out.begin(), out.end() - 1),
            (std::vector<float>{1.0F, 0.0F, infinity, 0.0F, infinity, 0.0F, infinity}));
  EXPECT_TRUE(std::isnan(out.back()));
}

}  // namespace
}  // namespace primus::test
