#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "ops/attention.h"
#include "tensor/arena.h"
#include "tensor/stream.h"

/// Attention on a GPU over the packs of bench/results, by each implementation (ops/gpu/attention.cu): rates of the
/// documents' own causal work, medians of calls, q, k, v being columns of one buffer.
///
///     bench_gpu_attention [cudnn] [wgmma] [mma] [plain] [32/8] [64/8] [16/8] ["16 x 512" …]
///
/// Any number of documents of any length may be named; heads of 128.
namespace primus::bench {
namespace {

constexpr int kWarmUp = 3, kCalls = 15;

struct Pack {
  std::string name;
  std::vector<std::int32_t> lengths;
};

std::vector<Pack> packs() {
  std::vector<std::int32_t> mixed;  // 24 documents of 60 to 560 tokens, 8192 in all, in no order
  mixed.reserve(24);
  for (int i = 0; i < 24; ++i) mixed.push_back(60 + (i * 7 + 3) % 24 * 500 / 23);
  mixed.back() += 8192 - std::accumulate(mixed.begin(), mixed.end(), 0);
  return {{"1 x 8192", {8192}},
          {"4 x 2048", std::vector<std::int32_t>(4, 2048)},
          {"8 x 1024", std::vector<std::int32_t>(8, 1024)},
          {"16 x 512", std::vector<std::int32_t>(16, 512)},
          {"32 x 256", std::vector<std::int32_t>(32, 256)},
          {"24 mixed (60-560)", mixed},
          {"8100 + 92", {8100, 92}},
          {"1 x 2048", {2048}},
          {"1 x 1024", {1024}},
          {"1 x 512", {512}},
          {"1 x 256", {256}},
          {"2 x 1024", {1024, 1024}},
          {"2 x 512", {512, 512}},
          {"4 x 512", {512, 512, 512, 512}}};
}

/// Documents of one length, by their name: "16 x 512".
Pack pack_of(const std::string& name) {
  const std::size_t times = name.find(" x ");
  PRIMUS_CHECK(times != std::string::npos, name);
  return {name, std::vector<std::int32_t>(std::stoul(name.substr(0, times)), std::stoi(name.substr(times + 3)))};
}

struct Work {
  Arena arena;
  Stream& stream;

  Tensor random(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
    const Tensor tensor = arena.matrix(MemoryKind::kActivations, "", DType::kBF16, rows, columns);
    std::vector<BFloat16> values(static_cast<std::size_t>(rows * columns));
    const Philox philox{seed, 0};
    const std::size_t different = std::min(values.size(), (std::size_t{1} << 18) + 1);
    for (std::size_t i = 0; i < different; ++i) values[i] = BFloat16(philox.normal(i));
    for (std::size_t i = different; i < values.size(); ++i) values[i] = values[i - different];
    stream.copy_to_device(tensor, values.data());
    return tensor;
  }
};

template <typename Call>
double median_seconds(Stream& stream, const Call& call) {
  for (int i = 0; i < kWarmUp; ++i) call();
  std::vector<double> seconds;
  for (int i = 0; i < kCalls; ++i) {
    Event begin(stream.device()), end(stream.device());
    begin.record(stream);
    call();
    end.record(stream);
    seconds.push_back(begin.seconds_until(end));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[kCalls / 2];
}

void measure(Stream& stream, const ops::AttentionShape& shape, const Pack& pack, const char* implementation) {
  setenv("PRIMUS_ATTENTION", implementation, 1);
  std::vector<std::int32_t> starts = {0};
  double pairs = 0.0;  // of a query and a key that it sees
  for (const std::int32_t length : pack.lengths) {
    starts.push_back(starts.back() + length);
    pairs += static_cast<double>(length) * (length + 1) / 2.0;
  }
  const std::int64_t tokens = starts.back(), q_width = std::int64_t{shape.heads} * shape.head_dim,
                     k_width = std::int64_t{shape.kv_heads} * shape.head_dim;
  const std::int32_t longest = *std::max_element(pack.lengths.begin(), pack.lengths.end());
  Work work{Arena::allocate(stream.device(), std::size_t{3} << 30), stream};
  const Tensor qkv = work.random(tokens, q_width + 2 * k_width, 1), d_out = work.random(tokens, q_width, 2),
               out = work.random(tokens, q_width, 3), d_qkv = work.random(tokens, q_width + 2 * k_width, 4),
               lse = work.arena.matrix(MemoryKind::kActivations, "", DType::kF32, shape.heads, tokens),
               cu_seqlens = work.arena.vector(MemoryKind::kActivations, "", DType::kI32,
                                              static_cast<std::int64_t>(starts.size()));
  stream.copy_to_device(cu_seqlens, starts.data());
  const std::size_t bytes = ops::attention_backward_workspace(stream.device(), DType::kBF16, shape, tokens);
  const Tensor workspace = work.arena.vector(MemoryKind::kWorkspace, "", DType::kU8, static_cast<std::int64_t>(bytes));
  const auto q = [&](const Tensor& x) { return x.columns(0, q_width); };
  const auto k = [&](const Tensor& x) { return x.columns(q_width, q_width + k_width); };
  const auto v = [&](const Tensor& x) { return x.columns(q_width + k_width, q_width + 2 * k_width); };
  const double forward = median_seconds(stream, [&] {
    ops::attention_forward(stream, {shape, q(qkv), k(qkv), v(qkv), cu_seqlens, longest, out, lse});
  });
  const double backward = median_seconds(stream, [&] {
    ops::attention_backward(stream, {shape, d_out, q(qkv), k(qkv), v(qkv), out, lse, cu_seqlens, longest, q(d_qkv),
                                     k(d_qkv), v(d_qkv), workspace});
  });
  const double product = 2.0 * pairs * static_cast<double>(q_width);
  fmt::print("| {}/{} of {} | {} | {}{} | {:.0f} ({:.0f} us) | {:.0f} ({:.0f} us) | {:.1f} |\n", shape.heads,
             shape.kv_heads, shape.head_dim, pack.name, implementation, shape.deterministic ? ", deterministic" : "",
             2.0 * product / forward * 1e-12, forward * 1e6, 5.0 * product / backward * 1e-12, backward * 1e6,
             static_cast<double>(bytes) / (1 << 20));
  std::fflush(stdout);
}

constexpr std::array<std::array<int, 3>, 4> kHeads = {{{32, 8, 128}, {64, 8, 128}, {16, 8, 128}, {32, 8, 64}}};

/// What is named, or everything.
struct Selection {
  std::vector<std::string> implementations, heads;
  std::vector<Pack> documents;

  explicit Selection(const std::vector<std::string>& names) {
    const std::vector<Pack> known = packs();
    for (const std::string& name : names) {
      const auto pack = std::find_if(known.begin(), known.end(), [&](const Pack& each) { return each.name == name; });
      if (pack != known.end() || name.find(' ') != std::string::npos) {
        documents.push_back(pack != known.end() ? *pack : pack_of(name));
      } else {
        (name.find('/') != std::string::npos ? heads : implementations).push_back(name);
      }
    }
    if (implementations.empty()) implementations = {"cudnn", "wgmma", "mma"};
    if (documents.empty()) documents = known;
  }

  bool has(const std::array<int, 3>& shape) const {
    const std::string name = fmt::format("{}/{}", shape[0], shape[1]);
    return heads.empty() || (shape[2] == 128 && std::count(heads.begin(), heads.end(), name) > 0);
  }
};

void run(const Selection& selection) {
  Stream stream(Device{DeviceType::kCuda, 0});
  fmt::print(
      "{}, bf16\n\n| heads | documents | runs | forward TFLOP/s | backward TFLOP/s | workspace MiB "
      "|\n|---|---|---|---|---|---|\n",
      stream.backend().describe(0));
  for (const std::array<int, 3>& heads : kHeads) {
    if (!selection.has(heads)) continue;
    const auto [query_heads, kv_heads, head_dim] = heads;
    const ops::AttentionShape shape = {query_heads, kv_heads, head_dim, 1.0F / std::sqrt(static_cast<float>(head_dim))};
    for (const Pack& pack : selection.documents) {
      for (const std::string& name : selection.implementations) measure(stream, shape, pack, name.c_str());
    }
  }
}

}  // namespace
}  // namespace primus::bench

int main(int count, char** arguments) {
  try {
    primus::bench::run(primus::bench::Selection({arguments + 1, arguments + count}));
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
