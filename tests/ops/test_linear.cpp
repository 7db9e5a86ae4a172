#include <limits>
#include <string_view>

#include "ops/cpu/bf16_speed.h"
#include "ops/cpu_backend.h"
#include "ops/linear.h"
#include "support.h"

namespace primus::test {
namespace {

struct Shape {
  std::int64_t m, n, k;
};
/// Nothing is a multiple of anything; adapters (narrow n, narrow k); one row; one column.
constexpr Shape kShapes[] = {{7, 13, 11}, {64, 96, 32}, {33, 5, 129}, {1, 17, 65}, {19, 1, 3}, {130, 67, 200}};
constexpr const char* kVariable = "PRIMUS_GEMM";

/// Between rows: accesses of 16 bytes are possible only where the shape allows them too.
std::int64_t gap_unit(const Shape& shape) { return kGapUnits[shape.n % 8 == 0 && shape.k % 8 == 0 ? 1 : 0]; }

/// On the CPU bf16 goes through the library's bf16 kernels at one level and through f32 at the others.
class Linear : public OpTest {
 protected:
  void SetUp() override {
    OpTest::SetUp();
    if (on_cpu()) ops::cpu::pretend_bf16_products_are_fast(GetParam().on.level == ops::cpu::levels().front());
  }

  /// body(shape) with the vendor's library and, on a GPU, with the kernel for what the library refuses.
  template <typename Body>
  void for_shapes(const Body& body) {
    for (const char* way : {"", "plain"}) {
      const bool is_plain = std::string_view(way) == "plain";
      if (on_cpu() ? is_plain : !is_plain && std::getenv(kVariable) != nullptr) continue;
      const Setting setting(kVariable, way);
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(fmt::format("{} m {} n {} k {}", way, shape.m, shape.n, shape.k));
        body(shape);
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Linear, testing::ValuesIn(cases()), name_of_case);

/// Σ_k a·b and Σ_k |a·b|.
struct Product {
  Matrix value, magnitude;
};

/// a(i, k) · b(j, k), summed over k
Product times_transposed(const Matrix& a, const Matrix& b) {
  Product product{Matrix(a.rows, b.rows), Matrix(a.rows, b.rows)};
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < b.rows; ++j) {
      for (std::int64_t k = 0; k < a.columns; ++k) {
        product.value(i, j) += a(i, k) * b(j, k);
        product.magnitude(i, j) += std::fabs(a(i, k) * b(j, k));
      }
    }
  }
  return product;
}

Matrix transposed(const Matrix& x) {
  Matrix flipped(x.columns, x.rows);
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < x.columns; ++j) flipped(j, i) = x(i, j);
  }
  return flipped;
}

/// A sum of `terms` products in f32, in any order, errs by at most terms · 2^-24 · Σ|a·b| (Higham, Accuracy and
/// Stability of Numerical Algorithms, 3.1), then the result is rounded once more.
Bound bound_of(const Product& product, std::int64_t terms, DType result) {
  return [&product, terms, result](std::int64_t i, std::int64_t j) {
    return static_cast<double>(terms + 2) * kF32 * product.magnitude(i, j) +
           1.01 * unit_roundoff(result) * std::fabs(product.value(i, j)) +
           smallest_normal(result) * unit_roundoff(result);
  };
}

/// before + scale · product
Product added(const Product& product, double scale, const Matrix& before) {
  Product sum = product;
  for (std::size_t i = 0; i < before.values.size(); ++i) {
    sum.value.values[i] = before.values[i] + scale * product.value.values[i];
    sum.magnitude.values[i] += std::fabs(before.values[i]);
  }
  return sum;
}

Matrix sum(const Matrix& a, const Matrix& b) {
  Matrix result = a;
  for (std::size_t i = 0; i < a.values.size(); ++i) result.values[i] += b.values[i];
  return result;
}

/// `row`, `rows` times.
Matrix repeated(const Matrix& row, std::int64_t rows) {
  Matrix result(rows, row.columns);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < row.columns; ++j) result(i, j) = row(0, j);
  }
  return result;
}

/// The same, the product being rounded itself before it is added, which ops/linear.h allows.
Bound bound_of_added(const Product& sum, const Product& product, double scale, std::int64_t terms, DType result) {
  const Bound once = bound_of(sum, terms, result);
  return [once, &product, scale, result](std::int64_t i, std::int64_t j) {
    return once(i, j) + 1.01 * unit_roundoff(result) * scale * std::fabs(product.value(i, j));
  };
}

TEST_P(Linear, Forward) {
  for_shapes([&](const Shape& shape) {
    const auto [m, n, k] = shape;
    const std::int64_t gap = gap_unit(shape);
    for (const bool with_bias : {false, true}) {
      for (const DType result : {dtype(), DType::kF32}) {
        const Matrix x = random_matrix(m, k, dtype(), 1), w = random_matrix(n, k, dtype(), 2),
                     bias = random_matrix(1, n, dtype(), 3);
        const DeviceData x_data = matrix(x, 5 * gap), w_data = matrix(w, 3 * gap), bias_data = vector(bias),
                         y(stream(), result, filled(m, n, -1.0), 7 * gap);
        ops::linear_forward(stream(),
                            {.x = x_data, .weight = w_data, .bias = with_bias ? bias_data.tensor() : Tensor(), .y = y});
        const Product product = times_transposed(x, w),
                      expected = added(product, 1.0, with_bias ? repeated(bias, m) : Matrix(m, n));
        expect_near(y.download(), expected.value,
                    with_bias ? bound_of_added(expected, product, 1.0, k + 1, result) : bound_of(expected, k, result),
                    fmt::format("y, bias {}", with_bias));
      }
    }
  });
}

TEST_P(Linear, ForwardAddsTheAddend) {
  for_shapes([&](const Shape& shape) {
    const auto [m, n, k] = shape;
    const std::int64_t gap = gap_unit(shape);
    for (const bool with_bias : {false, true}) {
      for (const DType result : {dtype(), DType::kF32}) {
        const Matrix x = random_matrix(m, k, dtype(), 1), w = random_matrix(n, k, dtype(), 2),
                     bias = random_matrix(1, n, dtype(), 3), addend = random_matrix(m, n, result, 4, 8.0);
        const DeviceData x_data = matrix(x, 5 * gap), w_data = matrix(w, 3 * gap), bias_data = vector(bias),
                         addend_data(stream(), result, addend, 2 * gap),
                         y(stream(), result, filled(m, n, std::numeric_limits<double>::quiet_NaN()), 7 * gap);
        const Matrix before = with_bias ? sum(addend, repeated(bias, m)) : addend;
        const Product product = times_transposed(x, w), expected = added(product, 1.0, before);
        const Bound bound = bound_of_added(expected, product, 1.0, k + 2, result);
        const auto expect_sum = [&](const DeviceData& target, const char* where) {
          ops::linear_forward(stream(), {.x = x_data,
                                         .weight = w_data,
                                         .bias = with_bias ? bias_data.tensor() : Tensor(),
                                         .addend = addend_data,
                                         .y = target});
          expect_near(
              target.download(), expected.value,
              [&](std::int64_t i, std::int64_t j) {
                const double rounded_first = with_bias ? 1.01 * unit_roundoff(result) * std::fabs(before(i, j)) : 0.0;
                return bound(i, j) + rounded_first;
              },
              fmt::format("y {}, bias {}", where, with_bias));
        };
        expect_sum(y, "elsewhere");
        EXPECT_EQ(addend_data.download().values, addend.values);
        expect_sum(addend_data, "in the addend's place");
      }
    }
  });
}

TEST_P(Linear, BackwardInput) {
  for_shapes([&](const Shape& shape) {
    const auto [m, n, k] = shape;
    const std::int64_t gap = gap_unit(shape);
    for (const bool accumulate : {false, true}) {
      const Matrix dy = random_matrix(m, n, dtype(), 1), w = random_matrix(n, k, dtype(), 2),
                   before = random_matrix(m, k, dtype(), 3);
      const DeviceData dy_data = matrix(dy, 2 * gap), w_data = matrix(w, gap), dx = matrix(before, 4 * gap);
      ops::linear_backward_input(stream(), {dy_data, w_data, dx, accumulate});
      const Product product = times_transposed(dy, transposed(w)),
                    expected = accumulate ? added(product, 1.0, before) : product;
      expect_near(dx.download(), expected.value,
                  accumulate ? bound_of_added(expected, product, 1.0, n + 1, dtype()) : bound_of(expected, n, dtype()),
                  fmt::format("dx, accumulate {}", accumulate));
    }
  });
}

TEST_P(Linear, BackwardWeightAddsUp) {
  for_shapes([&](const Shape& shape) {
    const auto [m, n, k] = shape;
    const std::int64_t gap = gap_unit(shape);
    for (const DType target : {DType::kF32, DType::kBF16}) {
      for (const float scale : {1.0F, 0.25F}) {
        const Matrix dy = random_matrix(m, n, dtype(), 1), x = random_matrix(m, k, dtype(), 2),
                     before = random_matrix(n, k, target, 3);
        const DeviceData dy_data = matrix(dy, 2 * gap), x_data = matrix(x, gap), dw(stream(), target, before, 3 * gap);
        ops::linear_backward_weight(stream(), {dy_data, x_data, dw, scale});
        const Product product = times_transposed(transposed(dy), transposed(x));
        const Product expected = added(product, static_cast<double>(scale), before);
        expect_near(dw.download(), expected.value,
                    bound_of_added(expected, product, static_cast<double>(scale), m + 2, target),
                    fmt::format("dW, scale {}", scale));
      }
    }
  });
}

TEST_P(Linear, BackwardWeightOverwrites) {
  for_shapes([&](const Shape& shape) {
    const auto [m, n, k] = shape;
    const std::int64_t gap = gap_unit(shape);
    for (const DType target : {DType::kF32, DType::kBF16}) {
      const Matrix dy = random_matrix(m, n, dtype(), 1), x = random_matrix(m, k, dtype(), 2);
      const Matrix garbage = filled(n, k, std::numeric_limits<double>::quiet_NaN());
      const DeviceData dy_data = matrix(dy, 2 * gap), x_data = matrix(x, gap), dw(stream(), target, garbage, 3 * gap);
      ops::linear_backward_weight(stream(), {dy_data, x_data, dw, 0.5F, false});
      Product expected = times_transposed(transposed(dy), transposed(x));
      for (double& value : expected.value.values) value *= 0.5;
      expect_near(dw.download(), expected.value, bound_of(expected, m + 2, target), "dW");
    }
  });
}

TEST_P(Linear, BackwardWeightOfNoRowsIsZero) {
  const DeviceData dy = matrix(filled(1, 5, 1.0)), x = matrix(filled(1, 7, 1.0)),
                   dw(stream(), DType::kF32, filled(5, 7, 1.0), 3);
  const Tensor no_dy = dy.tensor().slice(0, 0), no_x = x.tensor().slice(0, 0);
  ops::linear_backward_weight(stream(), {.dy = no_dy, .x = no_x, .d_weight = dw});
  expect_near(
      dw.download(), filled(5, 7, 1.0), [](auto, auto) { return 0.0; }, "dW kept");
  ops::linear_backward_weight(stream(), {.dy = no_dy, .x = no_x, .d_weight = dw, .accumulate = false});
  expect_near(
      dw.download(), filled(5, 7, 0.0), [](auto, auto) { return 0.0; }, "dW cleared");
}

TEST_P(Linear, BiasBackwardAddsUp) {
  for (const std::int64_t rows : {1, 63, 64, 200, 3000}) {
    for (const DType target : {DType::kF32, DType::kBF16}) {
      const std::int64_t gap = kGapUnits[rows % 8 == 0 ? 1 : 0], columns = gap == 1 ? 37 : 304;
      const Matrix dy = random_matrix(rows, columns, dtype(), 1), before = random_matrix(1, columns, target, 2);
      const DeviceData dy_data = matrix(dy, 3 * gap), d_bias = DeviceData::vector(stream(), target, before);
      ops::bias_backward(stream(), {dy_data, d_bias});
      Product expected{before, filled(1, columns, 0.0)};
      for (std::int64_t j = 0; j < columns; ++j) {
        expected.magnitude(0, j) = std::fabs(before(0, j));
        for (std::int64_t t = 0; t < rows; ++t) {
          expected.value(0, j) += dy(t, j);
          expected.magnitude(0, j) += std::fabs(dy(t, j));
        }
      }
      expect_near(d_bias.download(), expected.value, bound_of(expected, rows, target), "d_bias");
    }
  }
}

TEST_P(Linear, NoRows) {
  const DeviceData x = matrix(Matrix(0, 8)), w = matrix(random_matrix(4, 8, dtype(), 1)), y = matrix(Matrix(0, 4)),
                   dw(stream(), DType::kF32, filled(4, 8, 2.0)),
                   d_bias = DeviceData::vector(stream(), DType::kF32, filled(1, 4, 3.0));
  ops::linear_forward(stream(), {.x = x, .weight = w, .y = y});
  ops::linear_backward_input(stream(), {y, w, x, false});
  ops::linear_backward_weight(stream(), {y, x, dw});
  ops::bias_backward(stream(), {y, d_bias});
  EXPECT_EQ(dw.download().values, filled(4, 8, 2.0).values);
  EXPECT_EQ(d_bias.download().values, filled(1, 4, 3.0).values);
}

TEST_P(Linear, SameForAnyThreads) {
  const Matrix dy = random_matrix(150, 70, dtype(), 1), x = random_matrix(150, 90, dtype(), 2);
  const DeviceData dy_data = matrix(dy), x_data = matrix(x);
  expect_same_for_any_threads([&] {
    const DeviceData dw(stream(), DType::kF32, filled(70, 90, 0.5));
    ops::linear_backward_weight(stream(), {dy_data, x_data, dw});
    return dw.download_bytes();
  });
  expect_same_for_any_threads([&] {
    const DeviceData d_bias = DeviceData::vector(stream(), DType::kF32, filled(1, 70, 0.5));
    ops::bias_backward(stream(), {dy_data, d_bias});
    return d_bias.download_bytes();
  });
}

TEST_P(Linear, WrongShapesAreBugs) {
  const DeviceData x = matrix(filled(3, 8, 1.0)), w = matrix(filled(4, 7, 1.0)), y = matrix(filled(3, 4, 1.0));
  EXPECT_THROW(ops::linear_forward(stream(), {.x = x, .weight = w, .y = y}), BugError);
  const DeviceData other(stream(), dtype() == DType::kF32 ? DType::kBF16 : DType::kF32, filled(4, 8, 1.0));
  EXPECT_THROW(ops::linear_forward(stream(), {.x = x, .weight = other, .y = y}), BugError);
}

}  // namespace
}  // namespace primus::test
