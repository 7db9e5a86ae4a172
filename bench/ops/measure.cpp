#include "measure.h"

#include <omp.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/random.h"
#include "ops/cpu_backend.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace primus::bench {
namespace {

/// With one thread its own CPU time, which does not count what other programs take; else the wall's.
double now() {
  static const bool alone = omp_get_max_threads() == 1;
  timespec time{};
  ::clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& call) {
  const double begin = now();
  call();
  stream().synchronize();
  return now() - begin;
}

double best_of(int times, const std::function<void()>& call) {
  double best = seconds_of(call);
  for (int i = 1; i < times; ++i) best = std::min(best, seconds_of(call));
  return best;
}

double measure_best(benchmark::State& state, const std::function<void()>& call) {
  call();  // creates primitives, touches memory
  double best = 1e30;
  for (auto _ : state) {
    const double seconds = seconds_of(call);
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  return best;
}

}  // namespace

Stream& stream() {
  static std::unique_ptr<Stream> made = [] {
    ops::use_cpu_backend();
    return std::make_unique<Stream>(Device{});
  }();
  return *made;
}

Data::Data(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t row_stride)
    : arena_(Arena::allocate(stream().device(),
                             static_cast<std::size_t>(rows * std::max(columns, row_stride)) * size_of(dtype))) {
  const std::int64_t stride = std::max(columns, row_stride);
  const Tensor whole = arena_.matrix(MemoryKind::kWorkspace, "data", dtype, rows, stride);
  tensor_ = whole.columns(0, columns);
  if (!is_floating(dtype)) return;
  std::vector<float> values(1 << 16);
  const Philox random{1, 2};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  const std::int64_t count = whole.numel();
  for (std::int64_t first = 0; first < count; first += static_cast<std::int64_t>(values.size())) {
    const std::int64_t size = std::min(count - first, static_cast<std::int64_t>(values.size()));
    const Tensor source(values.data(), DType::kF32, whole.device(), size);
    ops::convert(stream(), {source, whole.as_vector().slice(first, first + size)});
  }
}

double gemm_limit(DType dtype) {
  static std::map<DType, double> known;
  if (!known.contains(dtype)) {
    const Data x(dtype, 2048, 2048), w(dtype, 2048, 2048), y(dtype, 2048, 2048);
    known[dtype] = 2.0 * 2048.0 * 2048.0 * 2048.0 / 1e9 /
                   best_of(8, [&] { ops::linear_forward(stream(), {.x = x, .weight = w, .y = y}); });
  }
  return known[dtype];
}

double memory_limit() {
  static const double known = [] {
    const Data from(DType::kF32, 1, 16 << 20), to(DType::kF32, 1, 16 << 20);
    return 2.0 * static_cast<double>(from.matrix().bytes()) / 1e9 / best_of(10, [&] {
             ops::convert(stream(), {from, to});
           });
  }();
  return known;
}

void measure_flops(benchmark::State& state, DType dtype, double flops, const std::function<void()>& call) {
  const double limit = gemm_limit(dtype);
  const double best = measure_best(state, call);
  state.counters["best_us"] = best * 1e6;
  state.counters["GFLOP/s"] = flops / best / 1e9;
  state.counters["limit"] = limit;
  state.counters["of_limit"] = flops / best / 1e9 / limit;
}

void measure_bytes(benchmark::State& state, double bytes, const std::function<void()>& call) {
  const double limit = memory_limit();
  const double best = measure_best(state, call);
  state.counters["best_us"] = best * 1e6;
  state.counters["GB/s"] = bytes / best / 1e9;
  state.counters["limit"] = limit;
  state.counters["of_limit"] = bytes / best / 1e9 / limit;
}

}  // namespace primus::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("device", primus::bench::stream().backend().describe(0));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
