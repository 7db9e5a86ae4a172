#include "measure.h"
#include "ops/linear.h"

/// The products of SmolLM2-135M (hidden 576, 9/3 heads of 64, intermediate 1536, vocabulary 49152), of its adapters and
/// of a tiny model.
namespace primus::bench {
namespace {

struct Layer {
  const char* name;
  std::int64_t n, k;
};
constexpr Layer kLayers[] = {
    {"qkv", 960, 576},    {"o", 576, 576},         {"gate_up", 3072, 576},        {"down", 576, 1536},
    {"head", 49152, 576}, {"lora_a_qkv", 96, 576}, {"lora_inside_qkv", 960, 672}, {"lora_inside_down", 576, 1568},
    {"lora_b", 576, 32},  {"tiny", 384, 128}};

enum class Product { kForward, kInput, kWeight };

void run(benchmark::State& state, DType dtype, Product product, const Layer& layer, std::int64_t m) {
  const double flops = 2.0 * static_cast<double>(m * layer.n * layer.k);
  const Data x(dtype, m, layer.k), w(dtype, layer.n, layer.k), y(dtype, m, layer.n);
  switch (product) {
    case Product::kForward:
      return measure_flops(state, dtype, flops, [&] { ops::linear_forward(stream(), {.x = x, .weight = w, .y = y}); });
    case Product::kInput:
      return measure_flops(state, dtype, flops, [&] { ops::linear_backward_input(stream(), {y, w, x, false}); });
    case Product::kWeight: {
      const Data dw(DType::kF32, layer.n, layer.k);
      return measure_flops(state, dtype, flops, [&] { ops::linear_backward_weight(stream(), {y, x, dw}); });
    }
  }
}

const int kRegistered = [] {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t m : {64, 512, 2048}) {
      for (const Layer& layer : kLayers) {
        if (m == 2048 && layer.n == 49152) continue;  // the head works in chunks of rows
        for (const auto& [product, name] :
             {std::pair{Product::kForward, "fwd"}, {Product::kInput, "dx"}, {Product::kWeight, "dw"}}) {
          const std::string title = fmt::format("gemm/{}/m{}/{}/{}", name_of(dtype), m, layer.name, name);
          benchmark::RegisterBenchmark(title.c_str(),
                                       [=](benchmark::State& state) { run(state, dtype, product, layer, m); })
              ->UseManualTime()
              ->MinTime(0.15);
        }
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace primus::bench
