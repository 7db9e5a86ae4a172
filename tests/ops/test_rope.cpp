#include "ops/attention.h"
#include "ops/rope.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(Rope);

constexpr double kEps = 1e-6;

struct Shape {
  std::int64_t tokens, heads, kv_heads;
  int head_dim;
};
constexpr Shape kShapes[] = {{1, 1, 1, 2},  {9, 3, 1, 6},   {71, 4, 2, 64},  {5, 2, 2, 40},
                             {7, 3, 1, 96}, {5, 1, 1, 256}, {301, 5, 1, 128}};

/// Small heads have rows that begin anywhere, the others where accesses of 16 bytes are possible.
std::int64_t gap_unit(const Shape& shape) { return kGapUnits[shape.head_dim > 40 ? 1 : 0]; }

struct Angles {
  Matrix cos, sin;
  std::vector<std::int32_t> positions;
};

Angles angles_of(std::int64_t tokens, int head_dim) {
  Angles angles{Matrix(50, head_dim / 2), Matrix(50, head_dim / 2), {}};
  for (std::int64_t p = 0; p < 50; ++p) {
    for (int j = 0; j < head_dim / 2; ++j) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * j / head_dim);
      angles.cos(p, j) = rounded(std::cos(angle), DType::kF32);
      angles.sin(p, j) = rounded(std::sin(angle), DType::kF32);
    }
  }
  for (std::int64_t t = 0; t < tokens; ++t) angles.positions.push_back(static_cast<std::int32_t>((7 * t) % 50));
  return angles;
}

/// Normed (with a weight) and rotated heads; `magnitude`, where asked for, of what is added up.
Matrix rope_of(const Matrix& x, const Matrix* weight, const Angles& angles, int head_dim, Matrix* magnitude = nullptr) {
  Matrix out(x.rows, x.columns);
  const int half = head_dim / 2;
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const std::int32_t p = angles.positions[static_cast<std::size_t>(t)];
    for (std::int64_t first = 0; first < x.columns; first += head_dim) {
      double squares = 0.0;
      for (int j = 0; j < head_dim; ++j) squares += x(t, first + j) * x(t, first + j);
      const double rstd = 1.0 / std::sqrt(squares / head_dim + kEps);
      const auto normed = [&](int j) {
        return weight == nullptr ? x(t, first + j) : x(t, first + j) * rstd * (*weight)(0, j);
      };
      for (int j = 0; j < half; ++j) {
        const double a = normed(j), b = normed(j + half), c = angles.cos(p, j), s = angles.sin(p, j);
        out(t, first + j) = a * c - b * s;
        out(t, first + j + half) = b * c + a * s;
        if (magnitude == nullptr) continue;
        (*magnitude)(t, first + j) = std::fabs(a * c) + std::fabs(b * s);
        (*magnitude)(t, first + j + half) = std::fabs(b * c) + std::fabs(a * s);
      }
    }
  }
  return out;
}

struct Gradients {
  Matrix dx, dx_magnitude, d_weight, d_weight_magnitude;
};

Gradients gradients_of(const Matrix& d_out, const Matrix& x, const Matrix* weight, const Angles& angles, int head_dim) {
  Gradients g{Matrix(x.rows, x.columns), Matrix(x.rows, x.columns), Matrix(1, head_dim), Matrix(1, head_dim)};
  const int half = head_dim / 2;
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const std::int32_t p = angles.positions[static_cast<std::size_t>(t)];
    for (std::int64_t first = 0; first < x.columns; first += head_dim) {
      std::vector<double> turned(static_cast<std::size_t>(head_dim)), size(turned.size());
      double squares = 0.0;
      for (int j = 0; j < half; ++j) {
        const double a = d_out(t, first + j), b = d_out(t, first + j + half);
        const double c = angles.cos(p, j), s = angles.sin(p, j);
        const auto low = static_cast<std::size_t>(j), high = low + static_cast<std::size_t>(half);
        turned[low] = a * c + b * s;
        turned[high] = b * c - a * s;
        size[low] = std::fabs(a * c) + std::fabs(b * s);
        size[high] = std::fabs(b * c) + std::fabs(a * s);
        squares += x(t, first + j) * x(t, first + j) + x(t, first + j + half) * x(t, first + j + half);
      }
      const double rstd = 1.0 / std::sqrt(squares / head_dim + kEps);
      double mean = 0.0, mean_magnitude = 0.0;
      for (int j = 0; weight != nullptr && j < head_dim; ++j) {
        const double factor = (*weight)(0, j) * x(t, first + j) * rstd / head_dim;
        mean += turned[static_cast<std::size_t>(j)] * factor;
        mean_magnitude += size[static_cast<std::size_t>(j)] * std::fabs(factor);
      }
      for (int j = 0; j < head_dim; ++j) {
        const double d = turned[static_cast<std::size_t>(j)], m = size[static_cast<std::size_t>(j)];
        if (weight == nullptr) {
          g.dx(t, first + j) = d;
          g.dx_magnitude(t, first + j) = m;
          continue;
        }
        const double normed = x(t, first + j) * rstd;
        g.dx(t, first + j) = rstd * (d * (*weight)(0, j) - normed * mean);
        g.dx_magnitude(t, first + j) = rstd * (m * std::fabs((*weight)(0, j)) + std::fabs(normed) * mean_magnitude);
        g.d_weight(0, j) += d * normed;
        g.d_weight_magnitude(0, j) += m * std::fabs(normed);
      }
    }
  }
  return g;
}

struct Inputs {
  Matrix q, k, q_weight, k_weight;
  Angles angles;
};

Inputs inputs_of(const Shape& shape, DType dtype) {
  return {random_matrix(shape.tokens, shape.heads * shape.head_dim, dtype, 1),
          random_matrix(shape.tokens, shape.kv_heads * shape.head_dim, dtype, 2),
          random_matrix(1, shape.head_dim, dtype, 3), random_matrix(1, shape.head_dim, dtype, 4),
          angles_of(shape.tokens, shape.head_dim)};
}

TEST_P(Rope, ForwardWithAndWithoutNorm) {
  for (const Shape& shape : kShapes) {
    const Inputs in = inputs_of(shape, dtype());
    const DeviceData cos(stream(), DType::kF32, in.angles.cos), sin(stream(), DType::kF32, in.angles.sin),
        positions = DeviceData::integers(stream(), in.angles.positions), q_weight = vector(in.q_weight),
        k_weight = vector(in.k_weight),
        rstd(stream(), DType::kF32, filled(shape.tokens, shape.heads + shape.kv_heads, 0.0));
    for (const bool norm : {false, true}) {
      const std::int64_t gap = gap_unit(shape);
      const DeviceData q = matrix(in.q, 3 * gap), k = matrix(in.k, gap), q_out = matrix(in.q, 2 * gap),
                       k_out = matrix(in.k, 4 * gap);
      ops::RopeForward args = {q,   k,   shape.head_dim, {},    {}, static_cast<float>(kEps), positions,
                               cos, sin, q_out,          k_out, {}};
      if (norm) {
        args.q_weight = q_weight;
        args.k_weight = k_weight;
        args.rstd = rstd;
      }
      // roundings: the rotation's own, with norm two before it (each of them may fall to the other side of a tie)
      const double roundings = norm && dtype() != DType::kF32 ? 3.1 : 1.0;
      const double f32 = (norm ? 0.5 * shape.head_dim + 12.0 : 4.0) * kF32;
      const auto check = [&](const DeviceData& actual, const Matrix& x, const Matrix& weight, const char* what) {
        Matrix magnitude(x.rows, x.columns);
        const Matrix expected = rope_of(x, norm ? &weight : nullptr, in.angles, shape.head_dim, &magnitude);
        expect_near(
            actual.download(), expected,
            [&](std::int64_t t, std::int64_t j) {
              return f32 * magnitude(t, j) +
                     1.01 * unit_roundoff(dtype()) * (std::fabs(expected(t, j)) + (roundings - 1.0) * magnitude(t, j)) +
                     smallest_normal(dtype()) * unit_roundoff(dtype());
            },
            what);
      };
      ops::rope_forward(stream(), args);
      check(q_out, in.q, in.q_weight, "q");
      check(k_out, in.k, in.k_weight, "k");
      if (norm) continue;
      args.q_out = q;
      args.k_out = k;
      ops::rope_forward(stream(), args);
      check(q, in.q, in.q_weight, "q in place");
      check(k, in.k, in.k_weight, "k in place");
    }
  }
}

TEST_P(Rope, ReferenceGradientsAreFiniteDifferences) {
  const Shape shape = {3, 2, 1, 6};
  const Inputs in = inputs_of(shape, DType::kF32);
  const Matrix d_out = random_matrix(3, 12, DType::kF32, 9);
  const auto loss = [&](const Matrix& x, const Matrix* weight) {
    const Matrix y = rope_of(x, weight, in.angles, 6);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.values.size(); ++i) sum += y.values[i] * d_out.values[i];
    return sum;
  };
  const auto near = [](std::int64_t, std::int64_t) { return 1e-7; };
  for (const Matrix* weight : {static_cast<const Matrix*>(nullptr), &in.q_weight}) {
    const Gradients g = gradients_of(d_out, in.q, weight, in.angles, 6);
    expect_near(g.dx, finite_differences(in.q, [&](const Matrix& x) { return loss(x, weight); }), near, "dx");
    if (weight == nullptr) continue;
    expect_near(g.d_weight, finite_differences(*weight, [&](const Matrix& w) { return loss(in.q, &w); }), near, "dw");
  }
}

enum class Norm { kNone, kFrozen, kTrained };

TEST_P(Rope, BackwardWithAndWithoutNorm) {
  for (const Shape& shape : kShapes) {
    const Inputs in = inputs_of(shape, dtype());
    const std::int64_t gap = gap_unit(shape);
    const Matrix dq_out = random_matrix(in.q.rows, in.q.columns, dtype(), 7),
                 dk_out = random_matrix(in.k.rows, in.k.columns, dtype(), 8);
    const DeviceData cos(stream(), DType::kF32, in.angles.cos), sin(stream(), DType::kF32, in.angles.sin),
        positions = DeviceData::integers(stream(), in.angles.positions), q_weight = vector(in.q_weight),
        k_weight = vector(in.k_weight), q = matrix(in.q, 2 * gap), k = matrix(in.k, 3 * gap);
    for (const Norm which : {Norm::kNone, Norm::kFrozen, Norm::kTrained}) {
      const bool norm = which != Norm::kNone;
      const DeviceData rstd(stream(), DType::kF32, filled(shape.tokens, shape.heads + shape.kv_heads, 0.0)),
          q_out = matrix(in.q), k_out = matrix(in.k), dq = matrix(dq_out, gap), dk = matrix(dk_out, 5 * gap),
          d_q_weight = DeviceData::vector(stream(), DType::kF32, filled(1, shape.head_dim, 0.5)),
          d_k_weight = DeviceData::vector(stream(), DType::kBF16, filled(1, shape.head_dim, 0.5));
      ops::RopeBackward args = {.d_q_out = dq,
                                .d_k_out = dk,
                                .head_dim = shape.head_dim,
                                .positions = positions,
                                .cos = cos,
                                .sin = sin,
                                .d_q = dq,
                                .d_k = dk};  // in place
      if (norm) {
        ops::rope_forward(stream(), {q, k, shape.head_dim, q_weight, k_weight, static_cast<float>(kEps), positions, cos,
                                     sin, q_out, k_out, rstd});
        args.q = q;
        args.k = k;
        args.q_weight = q_weight;
        args.k_weight = k_weight;
        args.rstd = rstd;
      }
      if (which == Norm::kTrained) {
        args.d_q_weight = d_q_weight;
        args.d_k_weight = d_k_weight;
      }
      ops::rope_backward(stream(), args);
      const auto check = [&](const DeviceData& dx, const DeviceData& d_weight, const Matrix& d_out, const Matrix& x,
                             const Matrix& weight, DType target, const char* what) {
        const Gradients g = gradients_of(d_out, x, norm ? &weight : nullptr, in.angles, shape.head_dim);
        const double f32 = (static_cast<double>(shape.head_dim) + 16.0) * kF32;
        expect_near(
            dx.download(), g.dx,
            [&](std::int64_t t, std::int64_t j) {
              return f32 * g.dx_magnitude(t, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(g.dx(t, j)) +
                     smallest_normal(dtype()) * unit_roundoff(dtype());
            },
            what);
        if (which != Norm::kTrained) return;
        Matrix expected = g.d_weight;
        for (double& value : expected.values) value += 0.5;
        const std::int64_t heads = x.rows * x.columns / shape.head_dim;  // that add to one sum
        const auto terms = static_cast<double>(heads);
        expect_near(
            d_weight.download(), expected,
            [&](std::int64_t, std::int64_t j) {
              return (f32 + terms * kF32) * (g.d_weight_magnitude(0, j) + 0.5) +
                     1.01 * unit_roundoff(target) * std::fabs(expected(0, j));
            },
            what);
      };
      check(dq, d_q_weight, dq_out, in.q, in.q_weight, DType::kF32, "q");
      check(dk, d_k_weight, dk_out, in.k, in.k_weight, DType::kBF16, "k");
    }
  }
}

/// dq and dk as attention's backward pass leaves them: rounded, or with sums of dq where it returns such.
struct AttentionGradients {
  DeviceData dq, dk;
  Tensor dq_sums;
};

TEST_P(Rope, BackwardOfWhatAttentionLeaves) {
  const Shape shape = {455, 2, 1, 128};
  const ops::AttentionShape attention = {2, 1, 128, 0.0883F};
  const Inputs in = inputs_of(shape, dtype());
  const DeviceData cos(stream(), DType::kF32, in.angles.cos), sin(stream(), DType::kF32, in.angles.sin),
      positions = DeviceData::integers(stream(), in.angles.positions), q_weight = vector(in.q_weight),
      k_weight = vector(in.k_weight), rstd(stream(), DType::kF32, filled(shape.tokens, 3, 0.0)), q = matrix(in.q),
      k = matrix(in.k), turned_q = matrix(in.q), turned_k = matrix(in.k),
      v = matrix(random_matrix(in.k.rows, in.k.columns, dtype(), 5)),
      d_out = matrix(random_matrix(in.q.rows, in.q.columns, dtype(), 6)), out = matrix(in.q), dv = matrix(in.k),
      lse(stream(), DType::kF32, filled(2, shape.tokens, 0.0)),
      starts = DeviceData::integers(stream(), {0, 390, 455, 455}),
      workspace = DeviceData::bytes(
          stream(), ops::attention_backward_workspace(stream().device(), dtype(), attention, shape.tokens));
  ops::rope_forward(stream(), {q, k, shape.head_dim, q_weight, k_weight, static_cast<float>(kEps), positions, cos, sin,
                               turned_q, turned_k, rstd});
  ops::attention_forward(stream(), {attention, turned_q, turned_k, v, starts, 390, out, lse});
  const auto attention_backward = [&](bool leaves_sums) {
    AttentionGradients made = {
        matrix(filled(in.q.rows, in.q.columns, 9.0)), matrix(filled(in.k.rows, in.k.columns, 9.0)), {}};
    const ops::AttentionBackward args = {attention, d_out, turned_q, turned_k, v,  out,      lse,
                                         starts,    390,   made.dq,  made.dk,  dv, workspace};
    if (leaves_sums) {
      made.dq_sums = ops::attention_backward_sums(stream(), args);
    } else {
      ops::attention_backward(stream(), args);
    }
    return made;
  };
  const AttentionGradients rounded = attention_backward(false);
  const Matrix dq_out = rounded.dq.download(), dk_out = rounded.dk.download();
  for (const std::int64_t gap : kGapUnits) {
    for (const Norm which : {Norm::kNone, Norm::kFrozen, Norm::kTrained}) {
      const bool norm = which != Norm::kNone;
      const AttentionGradients left = attention_backward(true);
      const DeviceData dq = matrix(in.q, gap), dk = matrix(in.k, gap),
                       d_weight = DeviceData::vector(stream(), DType::kF32, filled(1, shape.head_dim, 0.0));
      ops::RopeBackward args = {.d_q_out = left.dq,
                                .d_q_sums = left.dq_sums,
                                .d_k_out = left.dk,
                                .head_dim = shape.head_dim,
                                .positions = positions,
                                .cos = cos,
                                .sin = sin,
                                .d_q = dq,
                                .d_k = dk};
      if (norm) {
        args.q = q;
        args.k = k;
        args.q_weight = q_weight;
        args.k_weight = k_weight;
        args.rstd = rstd;
      }
      if (which == Norm::kTrained) args.d_q_weight = d_weight;
      ops::rope_backward(stream(), args);
      // rounded dq errs by a rounding; sums were added up in another order
      const double of_dq = (static_cast<double>(shape.head_dim) + 16.0) * kF32 + 1.01 * unit_roundoff(dtype());
      const auto check = [&](const DeviceData& dx, const Gradients& g, const char* what) {
        const double largest = *std::max_element(g.dx_magnitude.values.begin(), g.dx_magnitude.values.end());
        expect_near(
            dx.download(), g.dx,
            [&](std::int64_t t, std::int64_t j) {
              return of_dq * g.dx_magnitude(t, j) + 16.0 * kF32 * largest +
                     1.01 * unit_roundoff(dtype()) * std::fabs(g.dx(t, j)) +
                     smallest_normal(dtype()) * unit_roundoff(dtype());
            },
            what);
      };
      const Gradients of_q = gradients_of(dq_out, in.q, norm ? &in.q_weight : nullptr, in.angles, shape.head_dim);
      check(dq, of_q, "dq");
      check(dk, gradients_of(dk_out, in.k, norm ? &in.k_weight : nullptr, in.angles, shape.head_dim), "dk");
      if (which != Norm::kTrained) continue;
      const double terms = static_cast<double>(2 * shape.tokens);
      expect_near(
          d_weight.download(), of_q.d_weight,
          [&](std::int64_t, std::int64_t j) { return (of_dq + terms * kF32) * of_q.d_weight_magnitude(0, j); },
          "d_weight");
    }
  }
}

TEST_P(Rope, WeightGradientIsTheSameForAnyThreads) {
  const Shape shape = {300, 4, 2, 64};
  const Inputs in = inputs_of(shape, dtype());
  const DeviceData cos(stream(), DType::kF32, in.angles.cos), sin(stream(), DType::kF32, in.angles.sin),
      positions = DeviceData::integers(stream(), in.angles.positions), q_weight = vector(in.q_weight),
      k_weight = vector(in.k_weight), q = matrix(in.q), k = matrix(in.k), dq = matrix(in.q), dk = matrix(in.k),
      rstd(stream(), DType::kF32, filled(300, 6, 0.7));
  expect_same_for_any_threads([&] {
    const DeviceData d_q_weight = DeviceData::vector(stream(), DType::kF32, filled(1, 64, 0.0)),
                     d_k_weight = DeviceData::vector(stream(), DType::kF32, filled(1, 64, 0.0));
    ops::rope_backward(
        stream(), {q, {}, k, 64, q, k, q_weight, k_weight, rstd, positions, cos, sin, dq, dk, d_q_weight, d_k_weight});
    return d_q_weight.download_bytes();
  });
}

}  // namespace
}  // namespace primus::test
