#include "train/benchmark.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/random.h"
#include "data/batch_plan.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "tensor/backend.h"
#include "train/evaluate.h"
#include "train/fit.h"
#include "train/flops.h"
#include "train/optimizer.h"
#include "train/profile.h"
#include "train/setup.h"

namespace primus::train {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Rows of random tokens, all trained: one micro-batch.
data::TokenSet random_rows(const config::RunConfig& config, const model::ModelConfig& model) {
  data::TokenSetBuilder builder;
  const Philox random{.seed = config.seed, .stream = 0xBE7C};
  std::vector<std::int32_t> ids(static_cast<std::size_t>(config.seq_length));
  for (std::uint64_t row = 0; row < static_cast<std::uint64_t>(config.micro_batch_size); ++row) {
    for (std::size_t t = 0; t < ids.size(); ++t) {
      ids[t] =
          static_cast<std::int32_t>(random.below(row * ids.size() + t, static_cast<std::uint64_t>(model.vocab_size)));
    }
    builder.add(ids, ids, {});
  }
  return builder.finish();
}

data::BatchPlan make_plan(const config::RunConfig& config, const data::TokenSet& rows) {
  return {rows,
          {.global_batch_size = config.micro_batch_size,
           .micro_batch_size = config.micro_batch_size,
           .seq_length = config.seq_length,
           .packed = config.packed_sequence,
           .shuffle = config.dataset.shuffle,
           .seed = config.seed,
           .source_weights = config.dataset.weights}};
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The rate of a product that a device likes best, of random numbers, the fastest of several.
double measure_ceiling(Device device, DType dtype) {
  const bool on_cpu = device.type == DeviceType::kCpu;
  const std::int64_t m = on_cpu ? 2048 : 8192, n = on_cpu ? 4096 : 8192, k = on_cpu ? 4096 : 8192;
  constexpr std::int64_t kRows = 512;  // random ones, repeated
  std::vector<float> numbers(static_cast<std::size_t>(kRows * k));
  const Philox random{.seed = 1};
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = random.uniform(i) - 0.5F;
  const auto bytes = static_cast<std::size_t>(kRows * k * 4 + (m * k + n * k + m * n) * 4);
  Arena arena = Arena::allocate(device, bytes + 4096);
  Stream stream(device);
  const Tensor block = arena.matrix(MemoryKind::kWorkspace, "numbers", DType::kF32, kRows, k);
  const Tensor x = arena.matrix(MemoryKind::kWorkspace, "x", dtype, m, k);
  const Tensor weight = arena.matrix(MemoryKind::kWorkspace, "weight", dtype, n, k);
  const Tensor y = arena.matrix(MemoryKind::kWorkspace, "y", dtype, m, n);
  stream.copy_to_device(block, numbers.data());
  for (const Tensor& target : {x, weight}) {
    for (std::int64_t row = 0; row < target.rows(); row += kRows) {
      ops::convert(stream, {.in = block, .out = target.slice(row, row + kRows)});
    }
  }
  double best = 1e30;
  const double begin = now();
  for (int i = 0; i < 12 && (i < 3 || now() - begin < 5.0); ++i) {
    Event from(device), to(device);
    from.record(stream);
    ops::linear_forward(stream, {.x = x, .weight = weight, .y = y});
    to.record(stream);
    best = std::min(best, from.seconds_until(to));
  }
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / best;
}

/// Operations a second that the parts of a step reach at best.
struct Rates {
  double matrix = 0.0, attention_forward = 0.0, attention_backward = 0.0;
};

/// Measured with the vendor's libraries where we know the device; elsewhere the ceiling stands
/// for all.
Rates rates_of(Device device, DType dtype, double ceiling) {
  const bool is_half = dtype == DType::kBF16 || dtype == DType::kF16;
  if (is_half && backend(device.type).describe(device.index).find("H100") != std::string::npos) {
    return {.matrix = 760e12, .attention_forward = 640e12, .attention_backward = 515e12};
  }
  return {.matrix = ceiling, .attention_forward = ceiling, .attention_backward = ceiling};
}

/// Seconds of a step at these rates. Recomputing a layer costs its forward pass once more, restoring a product of it
/// that product.
double floor_seconds(const model::ModelConfig& model, const Work& work, const model::DecoderOptions& options,
                     const Rates& rates) {
  Work body = work;
  body.trained_tokens = 0;
  const auto layers = static_cast<double>(model.num_hidden_layers);
  const double layer_forward = matrix_flops(model, body, false) / 2.0 / layers;  // the other half is input gradients'
  const double attention_forward = attention_forward_flops(model, work) / layers;
  const double row = 2.0 * static_cast<double>(work.tokens * model.hidden_size);  // of a weight
  double matrix = matrix_flops(model, work, options.train_base), attention = attention_forward_flops(model, work);
  for (std::int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    const model::LayerKeeps& keeps = options.recompute.keeps_of(layer);
    if (options.recompute.span_of(layer) != nullptr) {
      matrix += layer_forward;
      if (!options.offloads_attention(layer)) attention += attention_forward;
      continue;
    }
    if (!keeps.qkv) matrix += row * static_cast<double>(model.q_size() + 2 * model.kv_size());
    if (!keeps.gate_up) matrix += row * static_cast<double>(2 * model.intermediate_size);
    if (!keeps.attention) attention += attention_forward;
  }
  return matrix / rates.matrix + attention / rates.attention_forward +
         attention_backward_flops(model, work) / rates.attention_backward;
}

}  // namespace

BenchmarkResult benchmark_train(const config::RunConfig& config, const model::ModelConfig& model, Device device,
                                const BenchmarkSettings& settings) {
  const model::DecoderOptions options = training_options(config, model, device);
  BenchmarkResult result;
  result.plan = plan_memory(model, options, device);
  require_fit(config, model, result.plan, device);
  const double ceiling = measure_ceiling(device, options.compute_dtype);
  const std::size_t free_before = backend(device.type).memory_free(device.index);
  Arena arena = Arena::allocate(device, result.plan.total);
  DeviceMemory memory(model, options, arena);
  Stream stream(device);
  memory.initialize(stream);
  model::initialize_random(stream, memory.decoder.parameters(), config.seed);
  if (options.lora) model::initialize_adapters(stream, memory.decoder.parameters(), config.seed);
  initialize_state(stream, config, memory.state);

  const data::BatchPlan plan = make_plan(config, settings.rows.empty() ? random_rows(config, model) : settings.rows);
  data::MicroBatch host;
  std::vector<Work> works;
  const auto step = [&](int number) {
    plan.assemble(number, 0, host);
    works.push_back(work_of(host));
    const auto scale = static_cast<float>(1.0 / static_cast<double>(host.trained_rows.size()));
    ops::begin_step(stream, memory.state);
    const model::Pass pass{
        .stream = stream, .training = true, .seed = config.seed, .micro_batch = static_cast<std::uint64_t>(number)};
    memory.decoder.forward_backward(pass, upload(stream, memory, host), scale, memory.state);
    update(stream, config, config.finetune_lr, memory.decoder, memory.state);
  };
  // as in training, the host puts a step on the stream while the one before it runs
  const int steps = settings.warmup + settings.steps;
  std::vector<Event> ends;
  for (int i = 0; i <= steps; ++i) ends.emplace_back(device);
  ends.front().record(stream);
  std::vector<double> times;
  const auto settle = [&](int number) {
    const auto end = static_cast<std::size_t>(number) + 1;
    const double seconds = ends[end - 1].seconds_until(ends[end]);
    if (number >= settings.warmup) times.push_back(seconds);
  };
  for (int i = 0; i < steps; ++i) {
    step(i);
    ends[static_cast<std::size_t>(i) + 1].record(stream);
    if (i > 0) settle(i - 1);
  }
  settle(steps - 1);
  ops::StepState state{};
  stream.copy_to_host(&state, memory.state);
  result.loss = state.loss_sum / static_cast<double>(works.back().trained_tokens);
  const std::size_t free_after = backend(device.type).memory_free(device.index);
  result.taken_bytes = free_before > free_after ? free_before - free_after : 0;
  {
    Profile profile(stream);
    Event begin(device), end(device);
    begin.record(stream);
    step(steps);
    end.record(stream);
    result.watched_seconds = begin.seconds_until(end);
    const std::vector<Profile::Span> spans = profile.spans();
    const auto seconds = seconds_by_kind(spans);
    result.gemm_seconds = seconds[static_cast<std::size_t>(WorkKind::kGemm)];
    result.attention_seconds = seconds[static_cast<std::size_t>(WorkKind::kAttention)];
    result.elementwise_seconds = seconds[static_cast<std::size_t>(WorkKind::kElementwise)];
    result.optimizer_seconds = seconds[static_cast<std::size_t>(WorkKind::kOptimizer)];
    if (!settings.trace.empty()) write_chrome_trace(settings.trace, spans);
  }

  const Rates rates = rates_of(device, options.compute_dtype, ceiling);
  std::vector<double> tokens_per_second, tflops, of_floor;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const Work& work = works[static_cast<std::size_t>(settings.warmup) + i];
    result.tokens += static_cast<double>(work.tokens) / settings.steps;
    result.trained_tokens += static_cast<double>(work.trained_tokens) / settings.steps;
    tokens_per_second.push_back(static_cast<double>(work.tokens) / times[i]);
    tflops.push_back(model_flops(model, work, options.train_base) / times[i] * 1e-12);
    of_floor.push_back(floor_seconds(model, work, options, rates) / times[i]);
  }
  result.packing = plan.efficiency();
  result.step_seconds = median(times);
  result.fastest_seconds = *std::min_element(times.begin(), times.end());
  result.tokens_per_second = median(tokens_per_second);
  result.model_tflops = median(tflops);
  result.ceiling_tflops = ceiling * 1e-12;
  result.fraction_of_ceiling = result.model_tflops / result.ceiling_tflops;
  result.fraction_of_floor = median(of_floor);
  return result;
}

}  // namespace primus::train
