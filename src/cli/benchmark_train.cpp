#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/benchmark_model.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "tensor/backend.h"
#include "train/benchmark.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

double trained_share(const train::BenchmarkResult& result) { return result.trained_tokens / result.tokens; }

/// The rows of dataset.path; none when it is not set.
data::TokenSet rows_of(const config::RunConfig& config, const model::ModelConfig& model, const std::string& folder) {
  if (config.dataset.path.empty()) return {};
  const std::optional<tokenizer::Tokenizer> tokenizer = open_tokenizer(folder.empty() ? config.hf_path : folder);
  data::LoadSettings settings = data_settings(config, model);
  show_progress(settings);
  const data::LoadedSet set = data::load_split(data::Split::kTrain, settings, tokenizer ? &*tokenizer : nullptr);
  log::info("training data: {}", set.summary.text());
  return set.tokens;
}

void print_text(const config::RunConfig& config, const train::BenchmarkResult& result, Device device) {
  const auto share = [&](double seconds) { return 100.0 * seconds / result.watched_seconds; };
  const double idle = result.watched_seconds - result.gemm_seconds - result.attention_seconds -
                      result.elementwise_seconds - result.optimizer_seconds;
  fmt::print("device              {}\n", backend(device.type).describe(device.index));
  fmt::print("work                {:.0f} tokens a step ({} x {}), {}\n", result.tokens, config.micro_batch_size,
             config.seq_length, config.peft == config::Peft::kLora ? "LoRA" : "SFT");
  if (!config.dataset.path.empty()) {
    fmt::print("rows                {}{:.1f} % full, {:.1f} % of the tokens trained: {:.1f} trained tokens/s\n",
               config.packed_sequence ? "packed, " : "", 100.0 * result.packing, 100.0 * trained_share(result),
               result.tokens_per_second * trained_share(result));
  }
  fmt::print("step                {:.1f} ms median, {:.1f} ms fastest\n", result.step_seconds * 1e3,
             result.fastest_seconds * 1e3);
  fmt::print("throughput          {:.1f} tokens/s, {:.4f} TFLOP/s\n", result.tokens_per_second, result.model_tflops);
  fmt::print("of the ceiling      {:.3f} (a large GEMM reaches {:.4f} TFLOP/s here)\n", result.fraction_of_ceiling,
             result.ceiling_tflops);
  fmt::print("of the floor        {:.3f}\n", result.fraction_of_floor);
  fmt::print("memory              {}; {} taken from the device\n", result.plan.summary(),
             train::format_bytes(result.taken_bytes));
  fmt::print("computed again      {}\n", result.plan.recompute);
  fmt::print(
      "where the time goes GEMM {:.1f} %, attention {:.1f} %, elementwise {:.1f} %, optimizer {:.1f} %, idle {:.1f} "
      "%\n",
      share(result.gemm_seconds), share(result.attention_seconds), share(result.elementwise_seconds),
      share(result.optimizer_seconds), share(idle));
}

void print_json(const config::RunConfig& config, const train::BenchmarkResult& result, Device device) {
  nlohmann::ordered_json line;
  line["device"] = backend(device.type).describe(device.index);
  line["model"] = config.model.empty() ? config.hf_path : config.model;
  line["peft"] = config.peft == config::Peft::kLora ? "lora" : "none";
  line["seq_length"] = config.seq_length;
  line["micro_batch_size"] = config.micro_batch_size;
  line["tokens"] = result.tokens;
  line["trained_tokens"] = result.trained_tokens;
  line["packing"] = result.packing;
  line["tokens_per_second"] = result.tokens_per_second;
  line["trained_tokens_per_second"] = result.tokens_per_second * trained_share(result);
  line["step_ms"] = result.step_seconds * 1e3;
  line["fastest_ms"] = result.fastest_seconds * 1e3;
  line["model_tflops"] = result.model_tflops;
  line["ceiling_tflops"] = result.ceiling_tflops;
  line["fraction_of_ceiling"] = result.fraction_of_ceiling;
  line["fraction_of_floor"] = result.fraction_of_floor;
  line["taken_gib"] = static_cast<double>(result.taken_bytes) / 0x1p30;
  line["planned_gib"] = static_cast<double>(result.plan.total) / 0x1p30;
  line["host_gib"] = static_cast<double>(result.plan.host_bytes) / 0x1p30;
  line["recompute"] = result.plan.recompute;
  line["loss"] = result.loss;
  line["ms"] = {{"whole", result.watched_seconds * 1e3},
                {"gemm", result.gemm_seconds * 1e3},
                {"attention", result.attention_seconds * 1e3},
                {"elementwise", result.elementwise_seconds * 1e3},
                {"optimizer", result.optimizer_seconds * 1e3}};
  fmt::print("{}\n", line.dump());
}

int run(const Arguments& arguments) {
  const auto [config, model, device] = benchmark_model(arguments);
  if (arguments.dry_run) {
    const train::MemoryPlan plan = train::plan_memory(model, train::training_options(config, model, device), device);
    fmt::print("memory: {}\n", plan.summary());
    fmt::print("computed again in backward: {}\n", plan.recompute);
    return 0;
  }
  const train::BenchmarkResult result =
      train::benchmark_train(config, model, device,
                             {.warmup = static_cast<int>(arguments.integer("warmup", 2)),
                              .steps = static_cast<int>(arguments.integer("steps", 5, 1)),
                              .rows = rows_of(config, model, arguments.text("tokenizer")),
                              .trace = arguments.text("profile")});
  if (arguments.has("json")) {
    print_json(config, result, device);
  } else {
    print_text(config, result, device);
  }
  return 0;
}

}  // namespace

Command benchmark_train_command() {
  return {
      .name = "benchmark train",
      .summary = "Measure training steps of a model with random weights",
      .details =
          "Needs no files: --model names a preset of configs/models/megatron_bridge (qwen3_0.6b, smollm2_135m, …).\n"
          "A step is one micro-batch of micro_batch_size x seq_length random tokens, forward, backward and update.\n"
          "With --dataset.path the rows of that file are trained instead, packed with --packed_sequence; rows of text "
          "need\n"
          "--tokenizer, rows of input_ids and labels do not.",
      .options = {config_option(false),
                  {"tokenizer", "DIR", "a folder with tokenizer.json, for rows of text (hf_path)"},
                  {"steps", "N", "steps that are timed (5)"},
                  {"warmup", "N", "steps before them (2)"},
                  {"profile", "FILE", "write a trace of one step that chrome://tracing and Perfetto open"},
                  {"json", "", "print one line of JSON"}},
      .takes_overrides = true,
      .run = run};
}

}  // namespace primus::cli
