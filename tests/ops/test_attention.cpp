#include <numeric>
#include <string_view>

#include "ops/attention.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(Attention);

struct Problem {
  ops::AttentionShape shape;
  std::vector<std::int32_t> lengths;  // of the documents

  std::int64_t tokens() const { return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}); }
  std::vector<std::int32_t> starts() const {
    std::vector<std::int32_t> sums = {0};
    for (const std::int32_t length : lengths) sums.push_back(sums.back() + length);
    return sums;
  }
  std::int64_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
  /// first token of each token's document
  std::vector<std::int64_t> first_of_token() const {
    std::vector<std::int64_t> first;
    for (std::size_t d = 0; d < lengths.size(); ++d) {
      first.insert(first.end(), static_cast<std::size_t>(lengths[d]), starts()[d]);
    }
    return first;
  }
};

/// More than a warp looks at together, some of them empty, as at the end.
std::vector<std::int32_t> many_documents() {
  std::vector<std::int32_t> lengths(70);
  for (std::int32_t d = 0; d < 70; ++d) lengths[static_cast<std::size_t>(d)] = d % 3 == 0 ? 0 : d * 5 % 13;
  lengths.insert(lengths.end(), {65, 0, 0});
  return lengths;
}

std::vector<Problem> problems() {
  std::vector<Problem> all = {
      {{2, 1, 8, 0.35F}, {5}},     {{3, 3, 64, 0.125F}, {1, 37, 2, 90}}, {{1, 1, 256, 0.0625F}, {20, 79}},
      {{2, 2, 7, 0.4F}, {19, 3}},  {{2, 1, 128, 0.0883F}, {20, 131}},    {{4, 1, 64, 0.125F}, many_documents()},
      {{2, 1, 64, 0.125F}, {512}}, {{2, 1, 128, 0.0883F}, {390, 65, 0}},  // backward in a single pass on Hopper
  };
  if (wants_small_shapes()) return all;
  const std::initializer_list<Problem> larger = {
      {{6, 2, 64, 0.125F}, {130, 61}},
      {{4, 2, 128, 0.0883F}, {70, 131}},
      {{2, 1, 40, 0.2F}, {33, 64, 65}},
      {{1, 1, 256, 0.0625F}, {20, 129}},
      {{3, 1, 64, 0.125F}, {290}},
      {{4, 2, 128, 0.0883F}, {64, 64, 64}},
      {{8, 1, 64, 0.125F}, {1, 1, 200}},
      {{2, 1, 128, 0.0883F}, {576, 576}},
      // a single pass: groups of 1, 4, 5 and 8; lengths around those of its tiles; empty documents
      {{2, 2, 128, 0.0883F}, {2, 449}},
      {{4, 1, 128, 0.0883F}, {390, 1, 63, 64, 65, 0, 0}},
      {{5, 1, 128, 0.0883F}, {127, 400, 128, 129}},
      {{16, 2, 128, 0.0883F}, {385}},
  };
  all.insert(all.end(), larger);
  return all;
}

constexpr const char* kVariable = "PRIMUS_ATTENTION";

/// What may run this (ops/gpu/attention.cu); nothing to choose from on the CPU.
std::vector<const char*> implementations(bool on_cpu) {
  if (on_cpu) return {""};
  if (std::getenv(kVariable) != nullptr) return {"wgmma", "mma", "plain"};  // the vendor's was left out
  return {"cudnn", "wgmma", "mma", "plain"};
}

/// One way to run a problem: rows adjacent but for gaps of odd length, or of multiples of 16 bytes.
struct Way {
  const char* implementation;
  std::int64_t gap_unit;
  std::int64_t more_seqlen = 0;  // that max_seqlen is above the longest document
  std::string name() const {
    return fmt::format(" ({}, gaps of {}, max_seqlen + {})", implementation, gap_unit, more_seqlen);
  }
};
/// Of documents that may be so long, backward in a single pass takes one key/value head after the other.
constexpr std::int64_t kManyMore = 1 << 20;
/// In f32, and where rows begin anywhere, a GPU has only the plain kernels: asking for others must end there. Long
/// documents take plain kernels too long for the tools that want small shapes.
std::vector<Way> ways(bool on_cpu, DType dtype, const Problem& problem) {
  if (on_cpu) return {{"", 1}, {"", 8}};
  const std::vector<const char*> allowed = implementations(on_cpu);
  std::vector<Way> all = {{allowed.front(), 1}};
  const Way by_head = {allowed.front(), 8, kManyMore};
  if (wants_small_shapes() && problem.longest() > 400) return {{allowed.front(), 8}, by_head};
  if (dtype == DType::kF32) {
    if (!wants_small_shapes()) all.push_back({allowed.front(), 8});
    return all;
  }
  for (const std::string_view implementation : allowed) {
    if (implementation != "plain" || !wants_small_shapes()) all.push_back({implementation.data(), 8});
  }
  if (problem.shape.head_dim == 128) all.push_back(by_head);
  return all;
}

struct Forward {
  Matrix out, lse, out_magnitude;
  double largest_score = 0.0;
};

Forward forward_of(const Problem& problem, const Matrix& q, const Matrix& k, const Matrix& v) {
  const auto& shape = problem.shape;
  const std::int64_t dim = shape.head_dim, group = shape.heads / shape.kv_heads;
  const std::vector<std::int64_t> first = problem.first_of_token();
  Forward result{Matrix(q.rows, q.columns), Matrix(shape.heads, q.rows), Matrix(q.rows, q.columns)};
  for (std::int64_t head = 0; head < shape.heads; ++head) {
    const std::int64_t qc = head * dim, kc = head / group * dim;
    for (std::int64_t i = 0; i < q.rows; ++i) {
      const std::int64_t begin = first[static_cast<std::size_t>(i)];
      std::vector<double> scores;
      double sum = 0.0, size = 0.0;
      for (std::int64_t j = begin; j <= i; ++j) {
        double score = 0.0, magnitude = 0.0;
        for (std::int64_t d = 0; d < dim; ++d) {
          score += q(i, qc + d) * k(j, kc + d);
          magnitude += std::fabs(q(i, qc + d) * k(j, kc + d));
        }
        scores.push_back(score * static_cast<double>(shape.scale));
        size = std::max(size, magnitude * static_cast<double>(shape.scale));
        sum += std::exp(scores.back());
      }
      result.largest_score = std::max(result.largest_score, size);
      result.lse(head, i) = std::log(sum);
      for (std::int64_t j = begin; j <= i; ++j) {
        const double weight = std::exp(scores[static_cast<std::size_t>(j - begin)]) / sum;
        for (std::int64_t d = 0; d < dim; ++d) {
          result.out(i, qc + d) += weight * v(j, kc + d);
          result.out_magnitude(i, qc + d) += weight * std::fabs(v(j, kc + d));
        }
      }
    }
  }
  return result;
}

struct Gradients {
  Matrix dq, dk, dv, dq_magnitude, dk_magnitude, dv_magnitude;
};

/// From out and lse as the forward pass left them (rounded), as the operation does.
Gradients backward_of(const Problem& problem, const Matrix& d_out, const Matrix& q, const Matrix& k, const Matrix& v,
                      const Matrix& out, const Matrix& lse) {
  const auto& shape = problem.shape;
  const std::int64_t dim = shape.head_dim, group = shape.heads / shape.kv_heads;
  const auto scale = static_cast<double>(shape.scale);
  const std::vector<std::int64_t> first = problem.first_of_token();
  Gradients g{Matrix(q.rows, q.columns), Matrix(k.rows, k.columns), Matrix(k.rows, k.columns),
              Matrix(q.rows, q.columns), Matrix(k.rows, k.columns), Matrix(k.rows, k.columns)};
  for (std::int64_t head = 0; head < shape.heads; ++head) {
    const std::int64_t qc = head * dim, kc = head / group * dim;
    for (std::int64_t i = 0; i < q.rows; ++i) {
      double delta = 0.0, delta_magnitude = 0.0;
      for (std::int64_t d = 0; d < dim; ++d) {
        delta += d_out(i, qc + d) * out(i, qc + d);
        delta_magnitude += std::fabs(d_out(i, qc + d) * out(i, qc + d));
      }
      for (std::int64_t j = first[static_cast<std::size_t>(i)]; j <= i; ++j) {
        double score = 0.0, dp = 0.0, dp_magnitude = 0.0;
        for (std::int64_t d = 0; d < dim; ++d) {
          score += q(i, qc + d) * k(j, kc + d) * scale;
          dp += d_out(i, qc + d) * v(j, kc + d);
          dp_magnitude += std::fabs(d_out(i, qc + d) * v(j, kc + d));
        }
        const double p = std::exp(score - lse(head, i));
        const double ds = p * (dp - delta) * scale, ds_magnitude = p * (dp_magnitude + delta_magnitude) * scale;
        for (std::int64_t d = 0; d < dim; ++d) {
          g.dq(i, qc + d) += ds * k(j, kc + d);
          g.dk(j, kc + d) += ds * q(i, qc + d);
          g.dv(j, kc + d) += p * d_out(i, qc + d);
          g.dq_magnitude(i, qc + d) += ds_magnitude * std::fabs(k(j, kc + d));
          g.dk_magnitude(j, kc + d) += ds_magnitude * std::fabs(q(i, qc + d));
          g.dv_magnitude(j, kc + d) += p * std::fabs(d_out(i, qc + d));
        }
      }
    }
  }
  return g;
}

/// A score errs by about (D + 4) · 2^-24 · Σ|q·k|·scale, which is the relative error of its exp; sums over the keys add
/// one rounding a term. In a 16-bit type the weights and their gradients are rounded to it before the second product
/// (FlashAttention does so too): one unit roundoff of everything that is added up.
double error_inside(const Problem& problem, double largest_score, DType dtype) {
  const double f32 = ((problem.shape.head_dim + 4.0) * (largest_score + 1.0) +
                      static_cast<double>(problem.longest()) * problem.shape.heads + 32.0) *
                     kF32;
  return f32 + (dtype == DType::kF32 ? 0.0 : 2.1 * unit_roundoff(dtype));
}

struct Inputs {
  Matrix q, k, v, d_out;
};

Inputs inputs_of(const Problem& problem, DType dtype) {
  const std::int64_t q_columns = std::int64_t{problem.shape.heads} * problem.shape.head_dim;
  const std::int64_t k_columns = std::int64_t{problem.shape.kv_heads} * problem.shape.head_dim;
  return {random_matrix(problem.tokens(), q_columns, dtype, 1), random_matrix(problem.tokens(), k_columns, dtype, 2),
          random_matrix(problem.tokens(), k_columns, dtype, 3), random_matrix(problem.tokens(), q_columns, dtype, 4)};
}

TEST_P(Attention, Forward) {
  for (const Problem& problem : problems()) {
    const Inputs in = inputs_of(problem, dtype());
    const Forward expected = forward_of(problem, in.q, in.k, in.v);
    const double inside = error_inside(problem, expected.largest_score, dtype());
    const double exact = error_inside(problem, expected.largest_score, DType::kF32);
    for (const Way& way : ways(on_cpu(), dtype(), problem)) {
      const Setting chosen(kVariable, way.implementation);
      const std::int64_t max_seqlen = problem.longest() + way.more_seqlen;
      const DeviceData q = matrix(in.q, 3 * way.gap_unit), k = matrix(in.k, 5 * way.gap_unit),
                       v = matrix(in.v, way.gap_unit),
                       out = matrix(filled(in.q.rows, in.q.columns, 9.0), 2 * way.gap_unit),
                       starts = DeviceData::integers(stream(), problem.starts()),
                       lse(stream(), DType::kF32, filled(problem.shape.heads, problem.tokens(), 9.0));
      ops::attention_forward(stream(), {problem.shape, q, k, v, starts, max_seqlen, out, lse});
      const auto near = [&](std::int64_t i, std::int64_t j) {
        return inside * expected.out_magnitude(i, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(expected.out(i, j)) +
               smallest_normal(dtype()) * unit_roundoff(dtype());
      };
      expect_near(out.download(), expected.out, near, "out" + way.name());
      expect_near(
          lse.download(), expected.lse,
          [&](std::int64_t i, std::int64_t t) { return exact + 2.0 * kF32 * std::fabs(expected.lse(i, t)); },
          "lse" + way.name());
      ops::attention_forward(stream(), {problem.shape, q, k, v, starts, max_seqlen, out, {}});
      expect_near(out.download(), expected.out, near, "out without lse" + way.name());
    }
  }
}

TEST_P(Attention, LargeScoresDoNotOverflow) {
  const Problem problem = {{1, 1, 16, 1.0F}, {150}};
  Inputs in = inputs_of(problem, dtype());
  for (double& value : in.q.values) value *= 16.0;  // scores of ±200 and more
  const DeviceData q = matrix(in.q), k = matrix(in.k), v = matrix(in.v), out = matrix(in.q),
                   starts = DeviceData::integers(stream(), problem.starts());
  ops::attention_forward(stream(), {problem.shape, q, k, v, starts, 150, out, {}});
  const Forward expected = forward_of(problem, in.q, in.k, in.v);
  const double inside = error_inside(problem, expected.largest_score, dtype());
  expect_near(
      out.download(), expected.out,
      [&](std::int64_t i, std::int64_t j) {
        return inside * expected.out_magnitude(i, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(expected.out(i, j));
      },
      "out");
}

TEST_P(Attention, ReferenceGradientsAreFiniteDifferences) {
  const Problem problem = {{2, 1, 3, 0.6F}, {4, 2}};
  const Inputs in = inputs_of(problem, DType::kF32);
  const auto loss = [&](const Matrix& q, const Matrix& k, const Matrix& v) {
    const Forward forward = forward_of(problem, q, k, v);
    double sum = 0.0;
    for (std::size_t i = 0; i < in.d_out.values.size(); ++i) sum += forward.out.values[i] * in.d_out.values[i];
    return sum;
  };
  const Forward forward = forward_of(problem, in.q, in.k, in.v);
  const Gradients g = backward_of(problem, in.d_out, in.q, in.k, in.v, forward.out, forward.lse);
  const auto near = [](std::int64_t, std::int64_t) { return 1e-8; };
  expect_near(g.dq, finite_differences(in.q, [&](const Matrix& q) { return loss(q, in.k, in.v); }), near, "dq");
  expect_near(g.dk, finite_differences(in.k, [&](const Matrix& k) { return loss(in.q, k, in.v); }), near, "dk");
  expect_near(g.dv, finite_differences(in.v, [&](const Matrix& v) { return loss(in.q, in.k, v); }), near, "dv");
}

TEST_P(Attention, Backward) {
  for (const Problem& problem : problems()) {
    const Inputs in = inputs_of(problem, dtype());
    Forward forward = forward_of(problem, in.q, in.k, in.v);
    for (double& value : forward.out.values) value = rounded(value, dtype());
    for (double& value : forward.lse.values) value = rounded(value, DType::kF32);
    const Gradients g = backward_of(problem, in.d_out, in.q, in.k, in.v, forward.out, forward.lse);
    const double inside = error_inside(problem, forward.largest_score, dtype());
    for (const Way& way : ways(on_cpu(), dtype(), problem)) {
      const Setting chosen(kVariable, way.implementation);
      const std::int64_t unit = way.gap_unit;
      const DeviceData q = matrix(in.q, 3 * unit), k = matrix(in.k, 5 * unit), v = matrix(in.v, unit),
                       out = matrix(forward.out, 2 * unit), d_out = matrix(in.d_out, 4 * unit),
                       starts = DeviceData::integers(stream(), problem.starts()),
                       lse(stream(), DType::kF32, forward.lse),
                       dq = matrix(filled(in.q.rows, in.q.columns, 9.0), 7 * unit),
                       dk = matrix(filled(in.k.rows, in.k.columns, 9.0), 3 * unit),
                       dv = matrix(filled(in.k.rows, in.k.columns, 9.0), unit),
                       workspace = DeviceData::bytes(
                           stream(), ops::attention_backward_workspace(stream().device(), dtype(), problem.shape,
                                                                       problem.tokens()));
      ops::attention_backward(stream(), {problem.shape, d_out, q, k, v, out, lse, starts,
                                         problem.longest() + way.more_seqlen, dq, dk, dv, workspace});
      const auto check = [&](const DeviceData& actual, const Matrix& expected, const Matrix& magnitude,
                             const std::string& what) {
        expect_near(
            actual.download(), expected,
            [&](std::int64_t i, std::int64_t j) {
              return inside * magnitude(i, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(expected(i, j)) +
                     smallest_normal(dtype()) * unit_roundoff(dtype());
            },
            what + way.name());
      };
      check(dq, g.dq, g.dq_magnitude, "dq");
      check(dk, g.dk, g.dk_magnitude, "dk");
      check(dv, g.dv, g.dv_magnitude, "dv");
    }
  }
}

/// Everything that forward and backward write, of some tokens: out, dq, dk, dv, then lse.
std::vector<std::vector<double>> results_of(const std::vector<Matrix>& matrices, std::int64_t begin, std::int64_t end) {
  std::vector<std::vector<double>> parts;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const Matrix& matrix = matrices[i];
    std::vector<double>& part = parts.emplace_back();
    const bool is_lse = i + 1 == matrices.size();  // (heads, tokens)
    for (std::int64_t token = begin; token < end; ++token) {
      for (std::int64_t j = 0; j < (is_lse ? matrix.rows : matrix.columns); ++j) {
        part.push_back(is_lse ? matrix(j, token) : matrix(token, j));
      }
    }
  }
  return parts;
}

TEST_P(Attention, ChangingADocumentLeavesTheOthersBitForBit) {
  for (const char* implementation : implementations(on_cpu())) {
    const Setting chosen(kVariable, implementation);
    const Problem problem = {{4, 2, 64, 0.125F, true}, {100, 33, 150, 7}};
    const auto run = [&](const Inputs& in) {
      const DeviceData q = matrix(in.q), k = matrix(in.k), v = matrix(in.v), d_out = matrix(in.d_out),
                       out = matrix(in.q), dq = matrix(in.q), dk = matrix(in.k), dv = matrix(in.v),
                       starts = DeviceData::integers(stream(), problem.starts()),
                       lse(stream(), DType::kF32, filled(4, problem.tokens(), 0.0)),
                       workspace = DeviceData::bytes(
                           stream(), ops::attention_backward_workspace(stream().device(), dtype(), problem.shape,
                                                                       problem.tokens()));
      ops::attention_forward(stream(), {problem.shape, q, k, v, starts, 150, out, lse});
      ops::attention_backward(stream(), {problem.shape, d_out, q, k, v, out, lse, starts, 150, dq, dk, dv, workspace});
      return std::vector<Matrix>{out.download(), dq.download(), dk.download(), dv.download(), lse.download()};
    };
    const Inputs before = inputs_of(problem, dtype());
    Inputs after = before;
    const std::int64_t begin = 133, end = 283;  // the third document
    for (Matrix* changed : {&after.q, &after.k, &after.v, &after.d_out}) {
      for (std::int64_t token = begin; token < end; ++token) {
        for (std::int64_t j = 0; j < changed->columns; ++j) (*changed)(token, j) *= -2.0;
      }
    }
    const std::vector<Matrix> one = run(before), two = run(after);
    EXPECT_EQ(results_of(one, 0, begin), results_of(two, 0, begin)) << implementation;
    EXPECT_EQ(results_of(one, end, problem.tokens()), results_of(two, end, problem.tokens())) << implementation;
    EXPECT_NE(results_of(one, begin, end), results_of(two, begin, end)) << implementation;
  }
}

TEST_P(Attention, DocumentsDoNotSeeEachOther) {
  // a document alone and the same document between others: equal bits
  const ops::AttentionShape shape = {2, 1, 64, 0.125F};
  const Problem alone = {shape, {45}}, packed = {shape, {30, 45, 11}};
  const Inputs in = inputs_of(packed, dtype());
  const auto middle = [](const Matrix& x) {
    Matrix part(45, x.columns);
    std::copy_n(x.values.begin() + 30 * x.columns, part.values.size(), part.values.begin());
    return part;
  };
  const auto run = [&](const Problem& problem, const Matrix& q, const Matrix& k, const Matrix& v) {
    const DeviceData q_data = matrix(q), k_data = matrix(k), v_data = matrix(v), out = matrix(q),
                     starts = DeviceData::integers(stream(), problem.starts());
    ops::attention_forward(stream(), {shape, q_data, k_data, v_data, starts, problem.longest(), out, {}});
    return out.download();
  };
  EXPECT_EQ(run(alone, middle(in.q), middle(in.k), middle(in.v)).values, middle(run(packed, in.q, in.k, in.v)).values);
}

TEST_P(Attention, SameForAnyThreads) {
  const Problem problem = {{4, 2, 128, 0.0883F, true}, {400, 40, 90}};
  const Inputs in = inputs_of(problem, dtype());
  const DeviceData q = matrix(in.q), k = matrix(in.k), v = matrix(in.v), d_out = matrix(in.d_out), out = matrix(in.q),
                   starts = DeviceData::integers(stream(), problem.starts()), dq = matrix(in.q), dk = matrix(in.k),
                   dv = matrix(in.v), lse(stream(), DType::kF32, filled(4, problem.tokens(), 0.0)),
                   workspace = DeviceData::bytes(
                       stream(),
                       ops::attention_backward_workspace(stream().device(), dtype(), problem.shape, problem.tokens()));
  expect_same_for_any_threads([&] {
    ops::attention_forward(stream(), {problem.shape, q, k, v, starts, problem.longest(), out, lse});
    ops::attention_backward(
        stream(), {problem.shape, d_out, q, k, v, out, lse, starts, problem.longest(), dq, dk, dv, workspace});
    std::vector<std::uint8_t> bits;
    for (const DeviceData* data : {&out, &lse, &dq, &dk, &dv}) {
      const std::vector<std::uint8_t> more = data->download_bytes();
      bits.insert(bits.end(), more.begin(), more.end());
    }
    return bits;
  });
}

TEST_P(Attention, DecodeIsTheLastRowOfForward) {
  for (const ops::AttentionShape& shape :
       {ops::AttentionShape{4, 2, 64, 0.125F}, ops::AttentionShape{3, 1, 20, 0.2F}}) {
    const std::vector<std::int32_t> lengths = {1, 70, 33}, slots = {3, 0, 2}, positions = {0, 69, 32};
    const std::int64_t capacity = 80, columns = std::int64_t{shape.kv_heads} * shape.head_dim;
    const Matrix q = random_matrix(3, std::int64_t{shape.heads} * shape.head_dim, dtype(), 1),
                 k_cache = random_matrix(4 * capacity, columns, dtype(), 2),
                 v_cache = random_matrix(4 * capacity, columns, dtype(), 3),
                 k_new = random_matrix(3, columns, dtype(), 4), v_new = random_matrix(3, columns, dtype(), 5);
    const DeviceData q_data = matrix(q, 1), k_new_data = matrix(k_new, 3), v_new_data = matrix(v_new, 1),
                     k_data = matrix(k_cache), v_data = matrix(v_cache), out = matrix(q, 2),
                     slot_data = DeviceData::integers(stream(), slots),
                     position_data = DeviceData::integers(stream(), positions);
    ops::attention_decode(
        stream(), {shape, q_data, k_new_data, v_new_data, k_data, v_data, capacity, slot_data, position_data, out});
    const Matrix actual = out.download();
    // the caches have the new rows, and all others as they were
    Matrix k = k_cache, v = v_cache;
    for (std::int64_t b = 0; b < 3; ++b) {
      const auto i = static_cast<std::size_t>(b);
      const std::int64_t row = slots[i] * capacity + positions[i];
      std::copy_n(k_new.values.begin() + b * columns, columns, k.values.begin() + row * columns);
      std::copy_n(v_new.values.begin() + b * columns, columns, v.values.begin() + row * columns);
    }
    EXPECT_EQ(k_data.download().values, k.values);
    EXPECT_EQ(v_data.download().values, v.values);
    for (std::int64_t b = 0; b < 3; ++b) {
      const std::int32_t length = lengths[static_cast<std::size_t>(b)];
      const Problem problem = {shape, {length}};
      Matrix all_q(length, q.columns), part_k(length, columns), part_v(length, columns), row(1, q.columns);
      std::copy_n(q.values.begin() + b * q.columns, q.columns, all_q.values.end() - q.columns);
      const std::int64_t first = slots[static_cast<std::size_t>(b)] * capacity * columns;
      std::copy_n(k.values.begin() + first, part_k.values.size(), part_k.values.begin());
      std::copy_n(v.values.begin() + first, part_v.values.size(), part_v.values.begin());
      const Forward expected = forward_of(problem, all_q, part_k, part_v);
      Matrix last(1, q.columns), last_magnitude(1, q.columns);
      for (std::int64_t j = 0; j < q.columns; ++j) {
        row(0, j) = actual(b, j);
        last(0, j) = expected.out(length - 1, j);
        last_magnitude(0, j) = expected.out_magnitude(length - 1, j);
      }
      const double inside = error_inside(problem, expected.largest_score, dtype());
      expect_near(
          row, last,
          [&](std::int64_t, std::int64_t j) {
            return inside * last_magnitude(0, j) + 1.01 * unit_roundoff(dtype()) * std::fabs(last(0, j));
          },
          "decode");
    }
  }
}

}  // namespace
}  // namespace primus::test
