#include "train/benchmark_ops.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/benchmark_model.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "tensor/backend.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

using Measure = std::vector<train::OperationTime> (*)(const config::RunConfig&, const model::ModelConfig&, Device,
                                                      double seconds);

void print_text(const std::vector<train::OperationTime>& times) {
  fmt::print("{:<10} {:<16} {:<28} {:>10} {:>9} {:>9}\n", "operation", "pass", "shape", "us", "TFLOP/s", "GB/s");
  for (const train::OperationTime& time : times) {
    fmt::print("{:<10} {:<16} {:<28} {:>10.1f} {:>9.2f} {:>9.0f}\n", time.name, time.pass, time.shape,
               time.seconds * 1e6, time.flops / time.seconds * 1e-12, time.bytes / time.seconds * 1e-9);
  }
}

void print_json(const config::RunConfig& config, const std::vector<train::OperationTime>& times, Device device) {
  nlohmann::ordered_json line;
  line["device"] = backend(device.type).describe(device.index);
  line["model"] = config.model.empty() ? config.hf_path : config.model;
  line["operations"] = nlohmann::ordered_json::array();
  for (const train::OperationTime& time : times) {
    line["operations"].push_back({{"operation", time.name},
                                  {"pass", time.pass},
                                  {"shape", time.shape},
                                  {"us", time.seconds * 1e6},
                                  {"tflops", time.flops / time.seconds * 1e-12},
                                  {"gb_per_second", time.bytes / time.seconds * 1e-9}});
  }
  fmt::print("{}\n", line.dump());
}

int run(const Arguments& arguments, Measure measure) {
  const BenchmarkModel subject = benchmark_model(arguments);
  const auto seconds = static_cast<double>(arguments.integer("milliseconds", 200, 1)) * 1e-3;
  if (arguments.dry_run) {
    fmt::print("would measure on {}\n", backend(subject.device.type).describe(subject.device.index));
    return 0;
  }
  const auto times = measure(subject.config, subject.model, subject.device, seconds);
  if (arguments.has("json")) {
    print_json(subject.config, times, subject.device);
  } else {
    fmt::print("device     {}\n", backend(subject.device.type).describe(subject.device.index));
    print_text(times);
  }
  return 0;
}

std::vector<Option> options() {
  return {config_option(false),
          {"milliseconds", "N", "how long each operation is repeated (200)"},
          {"json", "", "print one line of JSON"}};
}

}  // namespace

Command benchmark_gemm_command() {
  return {
      .name = "benchmark gemm",
      .summary = "Measure the matrix products of a model, each alone",
      .details =
          "Needs no files: --model names a preset of configs/models/megatron_bridge (qwen3_0.6b, smollm2_135m, …).\n"
          "One layer's products and the LM head's over micro_batch_size x seq_length tokens: forward, input and\n"
          "weight gradients, and with --peft lora the adapters' narrow products.",
      .options = options(),
      .takes_overrides = true,
      .run = [](const Arguments& arguments) { return run(arguments, train::benchmark_products); }};
}

Command benchmark_attention_command() {
  return {
      .name = "benchmark attention",
      .summary = "Measure a model's attention, forward and backward",
      .details =
          "Needs no files: --model names a preset of configs/models/megatron_bridge (qwen3_0.6b, smollm2_135m, …).\n"
          "Causal attention of one layer over micro_batch_size documents of seq_length tokens.",
      .options = options(),
      .takes_overrides = true,
      .run = [](const Arguments& arguments) { return run(arguments, train::benchmark_attention); }};
}

}  // namespace primus::cli
