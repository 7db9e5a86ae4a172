#include "ops/swiglu.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(SwigluLora);

struct Shape {
  std::int64_t tokens;
  std::int64_t width;
  std::int64_t rank;    // of A
  std::int64_t b_rank;  // of gate's and up's B
  std::int64_t gap;     // between rows
};
std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.tokens << " tokens, width " << shape.width << ", ranks " << shape.rank << " and " << shape.b_rank
             << ", gap " << shape.gap;
}

constexpr Shape kShapes[] = {
    {43, 56, 8, 8, 8},       // less than a tile and a strip, ranks between those that have a kernel
    {70, 264, 24, 24, 16},   // more than one of each, and a rest
    {64, 256, 32, 32, 8},    // no rest
    {150, 8200, 32, 32, 8},  // more tiles than a GPU runs blocks
    {33, 42248, 64, 40, 8},  // so many strips that the workspace has room for few blocks: each has many tiles
    {100, 136, 64, 40, 8},   // ranks that differ
    {1, 8, 16, 16, 8},       //
    {40, 64, 72, 72, 8},     // too large a rank to be fused
    {37, 53, 6, 5, 1},       // rows that begin anywhere
};

double silu(double x) { return x / (1.0 + std::exp(-x)); }
double slope_of_silu(double x) {
  const double sigmoid = 1.0 / (1.0 + std::exp(-x));
  return sigmoid * (1.0 + x * (1.0 - sigmoid));
}

/// Numbers and how far what is computed may be from them.
struct Expected {
  Matrix values;
  Matrix bounds;

  Expected(std::int64_t rows, std::int64_t columns) : values(rows, columns), bounds(rows, columns) {}
  void expect(const DeviceData& actual, const std::string& what) const {
    expect_near(
        actual.download(), values, [&](std::int64_t row, std::int64_t column) { return bounds(row, column); }, what);
  }
};

struct Inputs {
  Matrix d_out, du, a, gate_up, u_gate, u_up;

  Inputs(const Shape& shape, DType dtype)
      : d_out(random_matrix(shape.tokens, shape.width, dtype, 1)),
        du(random_matrix(shape.tokens, shape.rank, dtype, 2, 0.5)),
        a(random_matrix(shape.rank, shape.width, dtype, 3, 0.5)),
        gate_up(random_matrix(shape.tokens, 2 * shape.width, dtype, 4, 2.0)),
        u_gate(random_matrix(shape.tokens, shape.b_rank, dtype, 5)),
        u_up(random_matrix(shape.tokens, shape.b_rank, dtype, 6)) {}
};

/// The formulas of the header in double, with the errors that roundings to `dtype` allow.
struct Reference {
  Expected out, d_gate_up;

  Reference(const Inputs& in, DType dtype)
      : out(in.d_out.rows, in.d_out.columns), d_gate_up(in.d_out.rows, 2 * in.d_out.columns) {
    const std::int64_t width = in.d_out.columns;
    const double unit = 1.01 * unit_roundoff(dtype), tiny = smallest_normal(dtype) * unit;
    for (std::int64_t t = 0; t < in.d_out.rows; ++t) {
      for (std::int64_t j = 0; j < width; ++j) {
        double d = in.d_out(t, j), magnitude = std::fabs(d);
        for (std::int64_t r = 0; r < in.du.columns; ++r) {
          d += in.du(t, r) * in.a(r, j);
          magnitude += std::fabs(in.du(t, r) * in.a(r, j));
        }
        const double gate = in.gate_up(t, j), up = in.gate_up(t, width + j), sigmoid = 1.0 / (1.0 + std::exp(-gate));
        // the product and the sum d, each rounded to the type where it is a sequence of operations
        const double error_of_d = (2.0 * unit + static_cast<double>(in.du.columns + 4) * kF32) * magnitude;
        // exp errs by |gate| units of f32, and 1 − sigmoid by one of one
        const double relative = (12.0 + 4.0 * std::fabs(gate)) * kF32;
        const double slope = sigmoid * (1.0 + 2.0 * std::fabs(gate));
        const auto put = [&](Expected& expected, std::int64_t column, double value, double error) {
          expected.values(t, column) = value;
          expected.bounds(t, column) = error + unit * (std::fabs(value) + error) + tiny;
        };
        put(out, j, silu(gate) * up, relative * std::fabs(silu(gate) * up));
        put(d_gate_up, j, d * up * slope_of_silu(gate), (error_of_d + relative * magnitude) * std::fabs(up) * slope);
        put(d_gate_up, width + j, d * silu(gate), (error_of_d + relative * magnitude) * std::fabs(silu(gate)));
      }
    }
  }
};

/// before + scale · leftᵀ·right from columns [begin, …) of `right`, whose elements may be off by their bounds.
Expected product_over_rows(const Matrix& left, const Expected& right, std::int64_t begin, std::int64_t columns,
                           double scale, double before, DType result) {
  Expected product(left.columns, columns);
  const double unit = 1.01 * unit_roundoff(result);
  for (std::int64_t i = 0; i < left.columns; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      double sum = 0.0, magnitude = 0.0, error = 0.0;
      for (std::int64_t t = 0; t < left.rows; ++t) {
        const double x = left(t, i), y = right.values(t, begin + j);
        sum += x * y;
        magnitude += std::fabs(x * y);
        error += std::fabs(x) * right.bounds(t, begin + j);
      }
      error = scale * (error + static_cast<double>(left.rows + 8) * kF32 * magnitude);
      product.values(i, j) = before + scale * sum;
      // rounded before and after it is added
      product.bounds(i, j) = error + unit * (2.0 * (scale * std::fabs(sum) + error) + std::fabs(before));
    }
  }
  return product;
}

Expected transposed(const Expected& from) {
  Expected to(from.values.columns, from.values.rows);
  for (std::int64_t i = 0; i < to.values.rows; ++i) {
    for (std::int64_t j = 0; j < to.values.columns; ++j) {
      to.values(i, j) = from.values(j, i);
      to.bounds(i, j) = from.bounds(j, i);
    }
  }
  return to;
}

TEST_P(SwigluLora, EqualsItsFormulas) {
  constexpr double kScale = 0.5, kBefore = 3.0;
  for (const Shape& shape : kShapes) {
    // sizes that matter to a GPU's fused kernel, and take long in double
    if ((on_cpu() || dtype() == DType::kF32) && shape.width > 1000) continue;
    SCOPED_TRACE(shape);
    const Inputs in(shape, dtype());
    const Reference reference(in, dtype());
    for (const bool accumulate : {false, true}) {
      const DType gradient = accumulate && dtype() != DType::kF32 ? DType::kBF16 : DType::kF32;
      const double before = accumulate ? kBefore : 0.0;
      const DeviceData d_out = matrix(in.d_out, shape.gap), du = matrix(in.du, shape.gap), a = matrix(in.a),
                       gate_up = matrix(in.gate_up, 2 * shape.gap), u_gate = matrix(in.u_gate, shape.gap),
                       u_up = matrix(in.u_up, shape.gap),
                       d_gate_up = matrix(filled(shape.tokens, 2 * shape.width, 9.0), shape.gap);
      const DeviceData d_a(stream(), gradient, filled(shape.rank, shape.width, kBefore), 3),
          d_b_gate(stream(), gradient, filled(shape.width, shape.b_rank, kBefore)),
          d_b_up(stream(), gradient, filled(shape.width, shape.b_rank, kBefore), 1);
      ops::swiglu_lora_backward(stream(), {.d_out = d_out,
                                           .du = du,
                                           .a = a,
                                           .d_a = d_a,
                                           .gate_up = gate_up,
                                           .d_gate_up = accumulate ? gate_up : d_gate_up,
                                           .u_gate = u_gate,
                                           .u_up = u_up,
                                           .d_b_gate = d_b_gate,
                                           .d_b_up = d_b_up,
                                           .scale = static_cast<float>(kScale),
                                           .accumulate = accumulate});
      reference.d_gate_up.expect(accumulate ? gate_up : d_gate_up, "d_gate_up");
      product_over_rows(in.du, reference.out, 0, shape.width, 1.0, before, gradient).expect(d_a, "dA");
      const auto d_b = [&](const Matrix& u, std::int64_t begin) {
        return transposed(product_over_rows(u, reference.d_gate_up, begin, shape.width, kScale, before, gradient));
      };
      d_b(in.u_gate, 0).expect(d_b_gate, "dB of gate");
      d_b(in.u_up, shape.width).expect(d_b_up, "dB of up");
    }
  }
}

TEST_P(SwigluLora, WithoutTokensClearsGradients) {
  const Shape shape = {0, 64, 8, 8, 0};
  const Inputs in(shape, dtype());
  const DeviceData d_out = matrix(in.d_out), du = matrix(in.du), a = matrix(in.a), gate_up = matrix(in.gate_up),
                   u_gate = matrix(in.u_gate), u_up = matrix(in.u_up);
  const DeviceData d_a(stream(), DType::kF32, filled(8, 64, 3.0)), d_b_gate(stream(), DType::kF32, filled(64, 8, 3.0)),
      d_b_up(stream(), DType::kF32, filled(64, 8, 3.0));
  ops::swiglu_lora_backward(
      stream(), {d_out, du, a, d_a, gate_up, gate_up, u_gate, u_up, d_b_gate, d_b_up, 1.0F, /*accumulate=*/false});
  for (const DeviceData* gradient : {&d_a, &d_b_gate, &d_b_up}) {
    for (const double value : gradient->download().values) EXPECT_EQ(value, 0.0);
  }
}

TEST_P(SwigluLora, IsDeterministic) {
  const Shape shape = {500, 2000, 32, 32, 8};
  const Inputs in(shape, dtype());
  const DeviceData a = matrix(in.a), du = matrix(in.du, 8), u_gate = matrix(in.u_gate, 8), u_up = matrix(in.u_up, 8);
  expect_same_for_any_threads([&] {
    const DeviceData d_out = matrix(in.d_out), gate_up = matrix(in.gate_up);
    const DeviceData d_a(stream(), DType::kF32, filled(shape.rank, shape.width, 0.0)),
        d_b_gate(stream(), DType::kF32, filled(shape.width, shape.b_rank, 0.0)),
        d_b_up(stream(), DType::kF32, filled(shape.width, shape.b_rank, 0.0));
    ops::swiglu_lora_backward(stream(),
                              {d_out, du, a, d_a, gate_up, gate_up, u_gate, u_up, d_b_gate, d_b_up, 1.0F, false});
    std::vector<std::uint8_t> bytes = gate_up.download_bytes();
    for (const DeviceData* gradient : {&d_a, &d_b_gate, &d_b_up}) {
      const auto more = gradient->download_bytes();
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
    return bytes;
  });
}

}  // namespace
}  // namespace primus::test
