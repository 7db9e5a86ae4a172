#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "ops/adamw.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/loss.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/step_state.h"
#include "ops/swiglu.h"
#include "tensor/arena.h"

/// The operations that are limited by memory, on a GPU, at the shapes of Qwen3-8B with 8192 tokens in bf16. Bytes count
/// each tensor once for each time it has to be read or written; the limit is a copy of 1 GiB in the same process.
///
///     bench_gpu_memory [part of a name]
namespace primus::bench {
namespace {

constexpr std::int64_t kTokens = 8192, kHidden = 4096, kHeads = 32, kKvHeads = 8, kHeadDim = 128;
constexpr std::int64_t kIntermediate = 12288, kVocabulary = 151936;
constexpr std::int64_t kQkv = (kHeads + 2 * kKvHeads) * kHeadDim, kRotated = (kHeads + kKvHeads) * kHeadDim;
constexpr std::int64_t kLogitRows = 1024, kParameters = std::int64_t{1} << 28;
constexpr DType kType = DType::kBF16;

Stream& stream() {
  static Stream made(Device{DeviceType::kCuda, 0});
  return made;
}

/// Owns its memory: standard normal numbers.
class Data {
 public:
  Data(DType dtype, std::int64_t rows, std::int64_t columns)
      : arena_(Arena::allocate(stream().device(), static_cast<std::size_t>(rows * columns) * size_of(dtype))),
        tensor_(arena_.matrix(MemoryKind::kWorkspace, "data", dtype, rows, columns)) {
    if (!is_floating(dtype)) return;
    const Tensor& numbers = normal_numbers();
    const Tensor flat = tensor_.as_vector();
    for (std::int64_t first = 0; first < flat.numel(); first += numbers.numel()) {
      const std::int64_t count = std::min(numbers.numel(), flat.numel() - first);
      ops::convert(stream(), {numbers.slice(0, count), flat.slice(first, first + count)});
    }
  }

  Tensor vector() const { return tensor_.as_vector(); }
  operator const Tensor&() const { return tensor_; }  // NOLINT: an operation's argument

 private:
  static const Tensor& normal_numbers() {
    constexpr std::int64_t kCount = (1 << 20) + 24;
    static Arena arena = Arena::allocate(stream().device(), kCount * sizeof(float));
    static const Tensor numbers = [] {
      std::vector<float> values(kCount);
      const Philox random{1, 2};
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
      const Tensor made = arena.vector(MemoryKind::kWorkspace, "numbers", DType::kF32, kCount);
      stream().copy_to_device(made, values.data());
      return made;
    }();
    return numbers;
  }

  Arena arena_;
  Tensor tensor_;
};

Data integers(const std::vector<std::int32_t>& values) {
  Data made(DType::kI32, 1, static_cast<std::int64_t>(values.size()));
  stream().copy_to_device(made.vector(), values.data());
  return made;
}

std::vector<std::int32_t> counting(std::int64_t count, std::int64_t step = 1) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i * step);
  return values;
}

Data step_state() {
  ops::StepState state{};
  state.loss_scale = 1.0;
  state.grad_multiplier = 1.0;
  state.updates = 3;
  Data made(DType::kU8, 1, sizeof state);
  stream().copy_to_device(made.vector(), &state);
  return made;
}

/// Median seconds of a call among calls put on the stream one behind the other.
double seconds_of(const std::function<void()>& call) {
  constexpr int kCalls = 10, kSamples = 15;
  call();
  std::vector<double> samples;
  for (int sample = 0; sample < kSamples; ++sample) {
    Event begin(stream().device()), end(stream().device());
    begin.record(stream());
    for (int i = 0; i < kCalls; ++i) call();
    end.record(stream());
    samples.push_back(begin.seconds_until(end) / kCalls);
  }
  std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
  return samples[kSamples / 2];
}

double limit() {
  static const double known = [] {
    const Data from(DType::kF32, 1, std::int64_t{1} << 28), to(DType::kF32, 1, std::int64_t{1} << 28);
    const Tensor target = to;
    return 2.0 * static_cast<double>(target.bytes()) / seconds_of([&] { stream().copy(target, from); });
  }();
  return known;
}

std::string filter;  // NOLINT: set once by main

double mib(std::int64_t elements, DType dtype = kType) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype)) / 0x1p20;
}

/// One line: time, and bytes over time as a fraction of the limit. `prepare` allocates and returns the call.
void line(const std::string& name, double mebibytes, const std::function<void()>& call) {
  const double seconds = seconds_of(call), rate = mebibytes * 0x1p20 / seconds;
  fmt::print("| {:<42} | {:>9.1f} | {:>8.1f} | {:>6.0f} | {:>5.2f} |\n", name, seconds * 1e6, mebibytes, rate / 1e9,
             rate / limit());
}

bool wanted(const char* group) { return filter.empty() || std::strstr(group, filter.c_str()) != nullptr; }

void norms(std::int64_t hidden) {
  if (!wanted("rms_norm")) return;
  const Data x(kType, kTokens, hidden), y(kType, kTokens, hidden), dx(kType, kTokens, hidden), weight(kType, 1, hidden),
      rstd(DType::kF32, 1, kTokens), d_weight(DType::kF32, 1, hidden);
  const double pass = mib(kTokens * hidden);
  const Tensor w = weight.vector(), r = rstd.vector();
  const auto name = [&](const char* what) { return fmt::format("{}, hidden {}", what, hidden); };
  line(name("rms_norm_forward"), 2 * pass, [&] { ops::rms_norm_forward(stream(), {x, w, 1e-6F, y, r}); });
  line(name("rms_norm_backward"), 4 * pass, [&] { ops::rms_norm_backward(stream(), {y, x, w, r, dx, dx, {}}); });
  line(name("rms_norm_backward with d_weight"), 4 * pass, [&] {
    ops::rms_norm_backward(stream(), {y, x, w, r, dx, dx, d_weight.vector()});
  });
}

void rope() {
  if (!wanted("rope")) return;
  const Data qkv(kType, kTokens, kQkv), d_qkv(kType, kTokens, kQkv), q(kType, kTokens, kHeads * kHeadDim),
      k(kType, kTokens, kKvHeads * kHeadDim), weight(kType, 1, kHeadDim), cos(DType::kF32, kTokens, kHeadDim / 2),
      sin(DType::kF32, kTokens, kHeadDim / 2), rstd(DType::kF32, kTokens, kHeads + kKvHeads),
      d_weight(DType::kF32, 2, kHeadDim), sums(DType::kF32, 1, kTokens * kHeads * kHeadDim),
      positions = integers(counting(kTokens));
  const auto q_of = [](const Data& data) { return Tensor(data).columns(0, kHeads * kHeadDim); };
  const auto k_of = [](const Data& data) { return Tensor(data).columns(kHeads * kHeadDim, kRotated); };
  const double pass = mib(kTokens * kRotated);
  const Tensor w = weight.vector(), p = positions.vector();
  line("rope_forward with norm", 2 * pass, [&] {
    ops::rope_forward(stream(), {q_of(qkv), k_of(qkv), kHeadDim, w, w, 1e-6F, p, cos, sin, q, k, rstd});
  });
  line("rope_forward in place, no norm", 2 * pass, [&] {
    ops::rope_forward(stream(), {q_of(qkv), k_of(qkv), kHeadDim, {}, {}, 0.0F, p, cos, sin, q_of(qkv), k_of(qkv), {}});
  });
  ops::RopeBackward backward = {.d_q_out = q_of(d_qkv),
                                .d_k_out = k_of(d_qkv),
                                .head_dim = kHeadDim,
                                .q = q_of(qkv),
                                .k = k_of(qkv),
                                .q_weight = w,
                                .k_weight = w,
                                .rstd = rstd,
                                .positions = p,
                                .cos = cos,
                                .sin = sin,
                                .d_q = q_of(d_qkv),
                                .d_k = k_of(d_qkv)};
  line("rope_backward with norm", 3 * pass, [&] { ops::rope_backward(stream(), backward); });
  ops::RopeBackward from_sums = backward;
  from_sums.d_q_sums = sums.vector();
  line("rope_backward with norm, dq from f32 sums", 3 * pass + mib(kTokens * kHeads * kHeadDim),
       [&] { ops::rope_backward(stream(), from_sums); });
  backward.d_q_weight = d_weight.vector().slice(0, kHeadDim);
  backward.d_k_weight = d_weight.vector().slice(kHeadDim, 2 * kHeadDim);
  line("rope_backward with norm and d_weight", 3 * pass, [&] { ops::rope_backward(stream(), backward); });
}

void swiglu() {
  if (!wanted("swiglu")) return;
  const Data gate_up(kType, kTokens, 2 * kIntermediate), out(kType, kTokens, kIntermediate),
      d_gate_up(kType, kTokens, 2 * kIntermediate);
  const double pass = mib(kTokens * kIntermediate);
  line("swiglu_forward", 3 * pass, [&] { ops::swiglu_forward(stream(), {gate_up, out}); });
  line("swiglu_backward", 5 * pass, [&] { ops::swiglu_backward(stream(), {out, gate_up, d_gate_up, {}}); });
  line("swiglu_backward with out", 6 * pass, [&] { ops::swiglu_backward(stream(), {out, gate_up, d_gate_up, out}); });
  for (const std::int64_t rank : {16, 32, 64, 72}) {
    const Data du(kType, kTokens, rank), a(kType, rank, kIntermediate), d_a(DType::kF32, rank, kIntermediate),
        u(kType, kTokens, 2 * rank), d_b(DType::kF32, 2 * kIntermediate, rank);
    line(fmt::format("swiglu_lora_backward, rank {}", rank), 5 * pass, [&] {
      ops::swiglu_lora_backward(stream(), {.d_out = out,
                                           .du = du,
                                           .a = a,
                                           .d_a = d_a,
                                           .gate_up = gate_up,
                                           .d_gate_up = d_gate_up,
                                           .u_gate = Tensor(u).columns(0, rank),
                                           .u_up = Tensor(u).columns(rank, 2 * rank),
                                           .d_b_gate = Tensor(d_b).slice(0, kIntermediate),
                                           .d_b_up = Tensor(d_b).slice(kIntermediate, 2 * kIntermediate)});
    });
  }
}

void elementwise() {
  if (!wanted("elementwise")) return;
  const Data x(kType, kTokens, kIntermediate), y(kType, kTokens, kIntermediate), out(kType, kTokens, kIntermediate),
      wide(DType::kF32, kTokens, kIntermediate), sums(DType::kF32, 1, kQkv), dy(kType, kTokens, kQkv);
  const std::int64_t count = kTokens * kIntermediate;
  line("convert bf16 to f32", 3 * mib(count), [&] { ops::convert(stream(), {x, wide}); });
  line("convert f32 to bf16", 3 * mib(count), [&] { ops::convert(stream(), {wide, x}); });
  line("add", 3 * mib(count), [&] { ops::add(stream(), {x, y, out}); });
  line("dropout", 2 * mib(count), [&] { ops::dropout(stream(), {x, out, 0.1F, 1, 2}); });
  line("bias_backward", mib(kTokens * kQkv), [&] { ops::bias_backward(stream(), {dy, sums.vector()}); });
}

/// Ids as text has them: id i with a probability like 1 / (i + 3).
std::vector<std::int32_t> text_ids() {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform;
  std::vector<std::int32_t> ids;
  const double range = std::log(static_cast<double>(kVocabulary) / 3.0);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    ids.push_back(
        static_cast<std::int32_t>(std::min(3.0 * std::exp(range * uniform(random)) - 3.0, kVocabulary - 1.0)));
  }
  return ids;
}

void rows() {
  if (!wanted("rows")) return;
  const Data table(kType, kVocabulary, kHidden), x(kType, kTokens, kHidden), out(kType, kTokens, kHidden),
      all = integers(counting(kTokens)), half = integers(counting(kTokens / 2, 2)),
      scattered_ids = integers(counting(kTokens, 17)), ids = integers(text_ids()),
      d_table(DType::kF32, kVocabulary, kHidden);
  const double pass = mib(kTokens * kHidden);
  const Tensor half_rows = Tensor(x).slice(0, kTokens / 2);
  line("gather_rows, all", 2 * pass, [&] { ops::gather_rows(stream(), {x, all.vector(), out}); });
  line("scatter_rows, half of them", 1.5 * pass, [&] { ops::scatter_rows(stream(), {half_rows, half.vector(), out}); });
  line("embedding_forward", 2 * pass, [&] { ops::embedding_forward(stream(), {scattered_ids.vector(), table, out}); });
  line("embedding_backward f32, different ids", 5 * pass, [&] {
    ops::embedding_backward(stream(), {scattered_ids.vector(), x, d_table});
  });
  std::vector<std::int32_t> unique = text_ids();
  std::sort(unique.begin(), unique.end());
  const auto different = std::unique(unique.begin(), unique.end()) - unique.begin();
  line(fmt::format("embedding_backward f32, text, {} ids", different), pass + 4.0 * mib(different * kHidden), [&] {
    ops::embedding_backward(stream(), {ids.vector(), x, d_table});
  });
}

void loss() {
  if (!wanted("cross_entropy")) return;
  const Data logits(DType::kF32, kLogitRows, kVocabulary), d_logits(kType, kLogitRows, kVocabulary),
      targets = integers(counting(kLogitRows, 148)), losses(DType::kF32, 1, kLogitRows), state = step_state();
  const double pass = mib(kLogitRows * kVocabulary);
  const Tensor t = targets.vector(), l = losses.vector(), s = state.vector();
  line("cross_entropy_forward f32", 2 * pass, [&] { ops::cross_entropy_forward(stream(), {logits, t, l}); });
  line("cross_entropy_forward_backward f32 to bf16", 3 * pass, [&] {
    ops::cross_entropy_forward_backward(stream(), {logits, t, l, 1.0F, s, d_logits});
  });
  const Tensor in_place(Tensor(logits).data(), kType, Tensor(logits).device(), kLogitRows, kVocabulary,
                        2 * kVocabulary);
  line("the same in the logits' memory", 3 * pass, [&] {
    ops::cross_entropy_forward_backward(stream(), {logits, t, l, 1.0F, s, in_place});
  });
  for (const std::int64_t count : {64, 128, 256}) {
    line(fmt::format("the same, {} rows", count), 3 * mib(count * kVocabulary), [&] {
      ops::cross_entropy_forward_backward(stream(), {Tensor(logits).slice(0, count), t.slice(0, count),
                                                     l.slice(0, count), 1.0F, s, Tensor(d_logits).slice(0, count)});
    });
  }
  line("cross_entropy_forward_backward bf16 in place", 2 * pass, [&] {
    ops::cross_entropy_forward_backward(stream(), {d_logits, t, l, 1.0F, s, d_logits});
  });
}

void optimizer() {
  if (!wanted("optimizer")) return;
  const Data state = step_state(), losses(DType::kF32, 1, kTokens);
  const Tensor s = state.vector();
  const auto run = [&](const char* name, DType grads_type, DType master_type, DType moment_type, DType weights_type) {
    const Data grads(grads_type, 1, kParameters), master(master_type, 1, kParameters),
        exp_avg(moment_type, 1, kParameters), exp_avg_sq(moment_type, 1, kParameters),
        weights(weights_type, 1, kParameters);
    ops::convert(stream(), {exp_avg_sq, exp_avg_sq, 0.0F});
    ops::AdamW args = {.grads = grads.vector(),
                       .master = master.vector(),
                       .exp_avg = exp_avg.vector(),
                       .exp_avg_sq = exp_avg_sq.vector(),
                       .lr = 1e-5,
                       .weight_decay = 0.01,
                       .state = s};
    double bytes = mib(kParameters, grads_type) + 2 * mib(kParameters, master_type) + 4 * mib(kParameters, moment_type);
    if (weights_type != master_type) {
      args.weights = weights.vector();
      bytes += mib(kParameters, weights_type);
    }
    line(name, bytes, [&] { ops::adamw(stream(), args); });
    line(fmt::format("add_squared_norm {}", name_of(grads_type)), mib(kParameters, grads_type),
         [&] { ops::add_squared_norm(stream(), grads.vector(), s); });
  };
  run("adamw f32, bf16 weights", DType::kF32, DType::kF32, DType::kF32, DType::kBF16);
  run("adamw all bf16", DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16);
  run("adamw f32, bf16 moments and weights", DType::kF32, DType::kF32, DType::kBF16, DType::kBF16);
  line("begin_step", 0.0, [&] { ops::begin_step(stream(), s); });
  line("add_loss, 8192 rows", mib(kTokens, DType::kF32), [&] { ops::add_loss(stream(), losses.vector(), s); });
  line("decide_step", 0.0, [&] { ops::decide_step(stream(), {.state = s, .clip_grad = 1.0}); });
}

void run_all() {
  fmt::print("{}; copy {:.0f} GB/s\n\n", stream().backend().describe(0), limit() / 1e9);
  fmt::print("| {:<42} | {:>9} | {:>8} | {:>6} | {:>5} |\n|---|---|---|---|---|\n", "operation", "µs", "MiB", "GB/s",
             "limit");
  for (const std::int64_t hidden : {kHidden, std::int64_t{1024}, std::int64_t{2560}, std::int64_t{5120}}) norms(hidden);
  rope();
  swiglu();
  elementwise();
  rows();
  loss();
  optimizer();
}

}  // namespace
}  // namespace primus::bench

int main(int argc, char** argv) {
  if (argc > 1) primus::bench::filter = argv[1];
  try {
    primus::bench::run_all();
  } catch (const primus::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
