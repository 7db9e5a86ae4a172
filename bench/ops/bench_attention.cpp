#include <vector>

#include "measure.h"
#include "ops/attention.h"

namespace primus::bench {
namespace {

struct Pack {
  const char* name;
  ops::AttentionShape shape;
  std::int32_t length;
  int documents;
};
constexpr ops::AttentionShape kSmolLM2 = {9, 3, 64, 0.125F}, kTiny = {4, 2, 32, 0.177F}, kWide = {8, 2, 128, 0.088F};
constexpr Pack kPacks[] = {
    {"smollm2/512x4", kSmolLM2, 512, 4}, {"smollm2/2048x1", kSmolLM2, 2048, 1}, {"smollm2/8192x1", kSmolLM2, 8192, 1},
    {"smollm2/60x8", kSmolLM2, 60, 8},   {"wide/1024x1", kWide, 1024, 1},       {"tiny/40x8", kTiny, 40, 8},
    {"tiny/20x1", kTiny, 20, 1}};

void run(benchmark::State& state, DType dtype, bool backward, const Pack& pack) {
  const std::int64_t tokens = std::int64_t{pack.length} * pack.documents;
  const std::int64_t q_width = std::int64_t{pack.shape.heads} * pack.shape.head_dim;
  const std::int64_t k_width = std::int64_t{pack.shape.kv_heads} * pack.shape.head_dim;
  const Data qkv(dtype, tokens, q_width + 2 * k_width), d_qkv(dtype, tokens, q_width + 2 * k_width),
      out(dtype, tokens, q_width), d_out(dtype, tokens, q_width), lse(DType::kF32, pack.shape.heads, tokens);
  const Data starts(DType::kI32, 1, pack.documents + 1);
  for (int d = 0; d <= pack.documents; ++d) starts.matrix().as<std::int32_t>()[d] = d * pack.length;
  const auto part = [&](const Data& data, int which) {
    const std::int64_t begin = which == 0 ? 0 : q_width + (which - 1) * k_width;
    return data.matrix().columns(begin, which == 0 ? q_width : begin + k_width);
  };
  // two products forward, five backward, over the causal half
  const double half = static_cast<double>(pack.length) * (pack.length + 1) / 2.0;
  const double product = 2.0 * half * static_cast<double>(q_width) * pack.documents;
  const auto forward = [&] {
    ops::attention_forward(
        stream(), {pack.shape, part(qkv, 0), part(qkv, 1), part(qkv, 2), starts.vector(), pack.length, out, lse});
  };
  if (!backward) return measure_flops(state, dtype, 2.0 * product, forward);
  forward();
  const Data workspace(
      DType::kU8, 1,
      static_cast<std::int64_t>(ops::attention_backward_workspace(stream().device(), dtype, pack.shape, tokens)));
  measure_flops(state, dtype, 5.0 * product, [&] {
    ops::attention_backward(
        stream(), {pack.shape, d_out, part(qkv, 0), part(qkv, 1), part(qkv, 2), out, lse, starts.vector(), pack.length,
                   part(d_qkv, 0), part(d_qkv, 1), part(d_qkv, 2), workspace.vector()});
  });
}

const int kRegistered = [] {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Pack& pack : kPacks) {
      for (const bool backward : {false, true}) {
        const std::string title =
            fmt::format("attention/{}/{}/{}", name_of(dtype), pack.name, backward ? "bwd" : "fwd");
        benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) { run(state, dtype, backward, pack); })
            ->UseManualTime()
            ->MinTime(0.3);
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace primus::bench
