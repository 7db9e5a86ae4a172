#include "ops/swiglu.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(LinearSwiglu);

struct Shape {
  std::int64_t tokens;
  std::int64_t depth;
  std::int64_t width;
  std::int64_t gap;  // between rows
};
std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.tokens << " tokens, depth " << shape.depth << ", width " << shape.width << ", gap " << shape.gap;
}

constexpr Shape kShapes[] = {
    {1, 8, 8, 8},         // a corner of a tile
    {43, 56, 104, 16},    // less than a tile, a stage, a chunk
    {257, 64, 192, 8},    // one row more than a cluster's, no rest otherwise
    {300, 456, 200, 8},   // more depth than stages
    {290, 136, 7688, 8},  // more tiles than a GPU has blocks: two and three for each, and a last one for one warpgroup
    {37, 19, 53, 1},      // rows that begin anywhere
};

/// Numbers and how far what is computed may be from them.
struct Expected {
  Matrix values, bounds;

  Expected(std::int64_t rows, std::int64_t columns) : values(rows, columns), bounds(rows, columns) {}
  void expect(const DeviceData& actual, const std::string& what) const {
    expect_near(
        actual.download(), values, [&](std::int64_t row, std::int64_t column) { return bounds(row, column); }, what);
  }
};

struct Inputs {
  Matrix dy, weight, gate_up;

  Inputs(const Shape& shape, DType dtype)
      : dy(random_matrix(shape.tokens, shape.depth, dtype, 1)),
        weight(random_matrix(shape.depth, shape.width, dtype, 2, 0.2)),
        gate_up(random_matrix(shape.tokens, 2 * shape.width, dtype, 3, 2.0)) {}
};

/// The formulas of the header in double, with the errors that roundings to `dtype` allow.
struct Reference {
  Expected out, d_gate_up;

  Reference(const Inputs& in, DType dtype)
      : out(in.dy.rows, in.weight.columns), d_gate_up(in.dy.rows, 2 * in.weight.columns) {
    const std::int64_t width = in.weight.columns;
    const double unit = 1.01 * unit_roundoff(dtype), tiny = smallest_normal(dtype) * unit;
    for (std::int64_t t = 0; t < in.dy.rows; ++t) {
      std::vector<double> d(static_cast<std::size_t>(width)), magnitude = d;
      for (std::int64_t k = 0; k < in.dy.columns; ++k) {
        for (std::int64_t j = 0; j < width; ++j) {
          const double product = in.dy(t, k) * in.weight(k, j);
          d[static_cast<std::size_t>(j)] += product;
          magnitude[static_cast<std::size_t>(j)] += std::fabs(product);
        }
      }
      for (std::int64_t j = 0; j < width; ++j) {
        const double d_out = d[static_cast<std::size_t>(j)], sum = magnitude[static_cast<std::size_t>(j)];
        const double gate = in.gate_up(t, j), up = in.gate_up(t, width + j), sigmoid = 1.0 / (1.0 + std::exp(-gate));
        // summed in f32, then rounded to the type where it is two operations
        const double error = unit * std::fabs(d_out) + (static_cast<double>(in.dy.columns) + 8.0) * kF32 * sum + tiny;
        // exp errs by |gate| units of f32, and 1 − sigmoid by one of one
        const double relative = (12.0 + 4.0 * std::fabs(gate)) * kF32;
        const double slope = sigmoid * (1.0 + gate * (1.0 - sigmoid)), silu = gate * sigmoid;
        const double steepest = sigmoid * (1.0 + 2.0 * std::fabs(gate));
        const auto put = [&](Expected& expected, std::int64_t column, double value, double off) {
          expected.values(t, column) = value;
          expected.bounds(t, column) = off + unit * (std::fabs(value) + off) + tiny;
        };
        put(out, j, silu * up, relative * std::fabs(silu * up));
        put(d_gate_up, j, d_out * up * slope, (error + relative * std::fabs(d_out)) * std::fabs(up) * steepest);
        put(d_gate_up, width + j, d_out * silu, (error + relative * std::fabs(d_out)) * std::fabs(silu));
      }
    }
  }
};

/// Of forward, whose weight is (2·width, depth).
struct ForwardReference {
  Expected gate_up, out;

  ForwardReference(const Matrix& x, const Matrix& weight, const Matrix& bias, DType dtype)
      : gate_up(x.rows, weight.rows), out(x.rows, weight.rows / 2) {
    const double unit = 1.01 * unit_roundoff(dtype), tiny = smallest_normal(dtype) * unit;
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t j = 0; j < weight.rows; ++j) {
        double sum = 0.0, magnitude = 0.0;
        for (std::int64_t k = 0; k < x.columns; ++k) {
          sum += x(t, k) * weight(j, k);
          magnitude += std::fabs(x(t, k) * weight(j, k));
        }
        const double error = (static_cast<double>(x.columns) + 8.0) * kF32 * magnitude + tiny;
        const double product = bias.values.empty() ? 0.0 : unit * std::fabs(sum);  // may be rounded before it is added
        if (!bias.values.empty()) sum += bias(0, j);
        gate_up.values(t, j) = sum;
        gate_up.bounds(t, j) = error + product + unit * (std::fabs(sum) + error + product);
      }
      for (std::int64_t j = 0; j < out.values.columns; ++j) {
        const double gate = gate_up.values(t, j), up = gate_up.values(t, out.values.columns + j);
        const double off = gate_up.bounds(t, j), value = silu(gate) * up;
        // silu's slope is less than 1.1
        const double error = 1.1 * off * std::fabs(up) +
                             (std::fabs(silu(gate)) + 1.1 * off) * gate_up.bounds(t, out.values.columns + j) +
                             (12.0 + 4.0 * std::fabs(gate)) * kF32 * std::fabs(value);
        out.values(t, j) = value;
        out.bounds(t, j) = error + unit * (std::fabs(value) + error) + tiny;
      }
    }
  }

 private:
  static double silu(double x) { return x / (1.0 + std::exp(-x)); }
};

TEST_P(LinearSwiglu, ForwardEqualsItsFormulas) {
  for (const Shape& shape : kShapes) {
    if (on_cpu() && shape.width > 1000) continue;
    const Matrix x = random_matrix(shape.tokens, shape.depth, dtype(), 1),
                 weight = random_matrix(2 * shape.width, shape.depth, dtype(), 2, 0.2);
    for (const bool has_bias : {false, true}) {
      if (has_bias && shape.width > 100) continue;  // no other kernels
      SCOPED_TRACE(
          fmt::format("{} tokens, depth {}, width {}, bias {}", shape.tokens, shape.depth, shape.width, has_bias));
      const Matrix bias = has_bias ? random_matrix(1, 2 * shape.width, dtype(), 3) : Matrix();
      const ForwardReference reference(x, weight, bias, dtype());
      const DeviceData gate_up = matrix(filled(shape.tokens, 2 * shape.width, 9.0), 2 * shape.gap),
                       alone = matrix(filled(shape.tokens, 2 * shape.width, 9.0), 2 * shape.gap),
                       out = matrix(filled(shape.tokens, shape.width, 9.0), shape.gap);
      const DeviceData x_data = matrix(x, shape.gap), weight_data = matrix(weight, shape.gap),
                       bias_data = vector(has_bias ? bias : filled(1, 1, 0.0));
      const Tensor bias_or_none = has_bias ? bias_data.tensor() : Tensor();
      ops::linear_swiglu_forward(stream(), {x_data, weight_data, bias_or_none, gate_up, out});
      reference.gate_up.expect(gate_up, "gate_up");
      reference.out.expect(out, "out");
      ops::linear_swiglu_forward(stream(), {x_data, weight_data, bias_or_none, alone, {}});
      EXPECT_EQ(alone.download().values, gate_up.download().values) << "gate_up alone";
    }
  }
}

TEST_P(LinearSwiglu, BackwardEqualsItsFormulas) {
  for (const Shape& shape : kShapes) {
    if (on_cpu() && shape.width > 1000) continue;  // matters to a GPU's kernel, and takes long
    SCOPED_TRACE(shape);
    const Inputs in(shape, dtype());
    const Reference reference(in, dtype());
    const DeviceData dy = matrix(in.dy, shape.gap), weight = matrix(in.weight, shape.gap),
                     gate_up = matrix(in.gate_up, 2 * shape.gap),
                     d_gate_up = matrix(filled(shape.tokens, 2 * shape.width, 9.0), shape.gap);
    for (const bool in_place : {false, true}) {
      const DeviceData out = matrix(filled(shape.tokens, shape.width, 9.0), shape.gap);
      const DeviceData& gradient = in_place ? gate_up : d_gate_up;
      ops::linear_swiglu_backward(stream(), {dy, weight, gate_up, gradient, out});
      reference.d_gate_up.expect(gradient, "d_gate_up");
      reference.out.expect(out, "out");
    }
  }
}

TEST_P(LinearSwiglu, BackwardWithoutTokensDoesNothing) {
  const DeviceData none = matrix(Matrix(0, 64)), weight = matrix(filled(64, 64, 1.0)), both = matrix(Matrix(0, 128));
  ops::linear_swiglu_backward(stream(), {none, weight, both, both, none});
}

TEST_P(LinearSwiglu, BackwardIsDeterministic) {
  const Shape shape = {600, 256, 1000, 8};
  const Inputs in(shape, dtype());
  const DeviceData dy = matrix(in.dy), weight = matrix(in.weight), gate_up = matrix(in.gate_up);
  expect_same_for_any_threads([&] {
    const DeviceData d_gate_up = matrix(filled(shape.tokens, 2 * shape.width, 9.0)),
                     out = matrix(filled(shape.tokens, shape.width, 9.0));
    ops::linear_swiglu_backward(stream(), {dy, weight, gate_up, d_gate_up, out});
    std::vector<std::uint8_t> bytes = d_gate_up.download_bytes();
    const auto more = out.download_bytes();
    bytes.insert(bytes.end(), more.begin(), more.end());
    return bytes;
  });
}

}  // namespace
}  // namespace primus::test
