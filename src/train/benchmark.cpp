#include "train/benchmark.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "train/evaluate.h"
#include "train/flops.h"
#include "train/optimizer.h"
#include "train/profile.h"
#include "train/setup.h"

namespace primus::train {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Documents of random tokens, all trained, filled up as assemble() does.
data::MicroBatch random_batch(const config::RunConfig& config, const model::ModelConfig& model) {
  data::MicroBatch batch;
  const Philox random{.seed = config.seed, .stream = 0xBE7C};
  batch.cu_seqlens = {0};
  for (int row = 0; row < config.micro_batch_size; ++row) {
    for (int t = 0; t < config.seq_length; ++t) {
      const auto index = static_cast<std::uint64_t>(batch.ids.size());
      batch.ids.push_back(static_cast<std::int32_t>(random.below(index, static_cast<std::uint64_t>(model.vocab_size))));
      batch.positions.push_back(t);
      if (t + 1 == config.seq_length) continue;
      batch.trained_rows.push_back(static_cast<std::int32_t>(index));
    }
    batch.cu_seqlens.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  for (const std::int32_t row : batch.trained_rows)
    batch.targets.push_back(batch.ids[static_cast<std::size_t>(row) + 1]);
  batch.real_tokens = static_cast<std::int64_t>(batch.ids.size());
  batch.max_seqlen = config.seq_length;
  const auto filler = static_cast<std::int32_t>((data::kTokenMultiple - batch.real_tokens % data::kTokenMultiple) %
                                                data::kTokenMultiple);
  for (std::int32_t t = 0; t < filler; ++t) {
    batch.ids.push_back(0);
    batch.positions.push_back(t);
  }
  if (filler > 0) batch.cu_seqlens.push_back(static_cast<std::int32_t>(batch.ids.size()));
  return batch;
}

/// The rate of a product that a device likes best: 2048 x 4096 x 4096, random numbers, the fastest of several.
double measure_ceiling(Stream& stream, DType dtype) {
  constexpr std::int64_t kM = 2048;
  constexpr std::int64_t kN = 4096;
  constexpr std::int64_t kK = 4096;
  std::vector<float> numbers(kN * kK);
  const Philox random{.seed = 1};
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = random.uniform(i) - 0.5F;
  Arena arena = Arena::allocate(stream.device(), (kM * kK + kN * kK + kM * kN + kN * kK) * 4 + 4096);
  const Tensor host = arena.matrix(MemoryKind::kWorkspace, "numbers", DType::kF32, kN, kK);
  const Tensor x = arena.matrix(MemoryKind::kWorkspace, "x", dtype, kM, kK);
  const Tensor weight = arena.matrix(MemoryKind::kWorkspace, "weight", dtype, kN, kK);
  const Tensor y = arena.matrix(MemoryKind::kWorkspace, "y", dtype, kM, kN);
  stream.copy_to_device(host, numbers.data());
  ops::convert(stream, {.in = host.slice(0, kM), .out = x});
  ops::convert(stream, {.in = host, .out = weight});
  double best = 1e30;
  const double begin = now();
  for (int i = 0; i < 12 && (i < 3 || now() - begin < 5.0); ++i) {
    stream.synchronize();
    const double from = now();
    ops::linear_forward(stream, {.x = x, .weight = weight, .y = y});
    stream.synchronize();
    best = std::min(best, now() - from);
  }
  return 2.0 * kM * kN * kK / best;
}

}  // namespace

BenchmarkResult benchmark_train(const config::RunConfig& config, const model::ModelConfig& model, Device device,
                                const BenchmarkSettings& settings) {
  const model::DecoderOptions options = training_options(config, model, device);
  BenchmarkResult result;
  result.plan = plan_memory(model, options, device);
  require_fit(result.plan, device);
  Arena arena = Arena::allocate(device, result.plan.total);
  DeviceMemory memory(model, options, arena);
  Stream stream(device);
  memory.decoder.initialize(stream);
  model::initialize_random(stream, memory.decoder.parameters(), config.seed);
  if (options.lora) model::initialize_adapters(stream, memory.decoder.parameters(), config.seed);
  initialize_state(stream, config, memory.state);

  const data::MicroBatch host = random_batch(config, model);
  const auto scale = static_cast<float>(1.0 / static_cast<double>(host.trained_rows.size()));
  const auto step = [&](std::uint64_t number) {
    ops::begin_step(stream, memory.state);
    const model::Pass pass{.stream = stream, .training = true, .seed = config.seed, .micro_batch = number};
    memory.decoder.forward_backward(pass, upload(stream, memory, host), scale, memory.state);
    update(stream, config, config.finetune_lr, memory.decoder, memory.state);
    stream.synchronize();
  };
  std::vector<double> times;
  for (int i = 0; i < settings.warmup + settings.steps; ++i) {
    const double from = now();
    step(static_cast<std::uint64_t>(i));
    if (i >= settings.warmup) times.push_back(now() - from);
  }
  ops::StepState state{};
  stream.copy_to_host(&state, memory.state);
  result.loss = state.loss_sum / static_cast<double>(host.trained_rows.size());
  {
    Profile profile(stream);
    const double from = now();
    step(static_cast<std::uint64_t>(settings.warmup) + static_cast<std::uint64_t>(settings.steps));
    result.watched_seconds = now() - from;
    const std::vector<Profile::Span> spans = profile.spans();
    const auto seconds = seconds_by_kind(spans);
    result.gemm_seconds = seconds[static_cast<std::size_t>(WorkKind::kGemm)];
    result.attention_seconds = seconds[static_cast<std::size_t>(WorkKind::kAttention)];
    result.elementwise_seconds = seconds[static_cast<std::size_t>(WorkKind::kElementwise)];
    result.optimizer_seconds = seconds[static_cast<std::size_t>(WorkKind::kOptimizer)];
    if (!settings.trace.empty()) write_chrome_trace(settings.trace, spans);
  }

  std::sort(times.begin(), times.end());
  result.tokens = host.real_tokens;
  result.step_seconds = times[times.size() / 2];
  result.fastest_seconds = times.front();
  result.tokens_per_second = static_cast<double>(result.tokens) / result.step_seconds;
  const Work work{
      .tokens = host.real_tokens,
      .trained_tokens = static_cast<std::int64_t>(host.trained_rows.size()),
      .squared_lengths = static_cast<double>(config.micro_batch_size) * config.seq_length * config.seq_length};
  const double flops = model_flops(model, work, options.train_base);
  result.model_tflops = flops / result.step_seconds * 1e-12;
  result.ceiling_tflops = measure_ceiling(stream, options.compute_dtype) * 1e-12;
  result.fraction_of_ceiling = result.model_tflops / result.ceiling_tflops;
  return result;
}

}  // namespace primus::train
