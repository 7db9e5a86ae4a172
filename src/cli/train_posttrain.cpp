#include <csignal>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "config/show.h"
#include "config/validate.h"
#include "monitor/monitor.h"
#include "train/disk_plan.h"
#include "train/fit.h"
#include "train/interrupt.h"
#include "train/open_model.h"
#include "train/resume.h"
#include "train/setup.h"
#include "train/trainer.h"

namespace primus::cli {
namespace {

std::string millions(std::int64_t count) {
  if (count >= 1'000'000'000) return fmt::format("{:.2f} B", static_cast<double>(count) * 1e-9);
  if (count >= 1'000'000) return fmt::format("{:.2f} M", static_cast<double>(count) * 1e-6);
  return fmt::format("{:.1f} K", static_cast<double>(count) * 1e-3);
}

void say_what_trains(const train::Trainer& trainer, const train::TrainingJob& job) {
  const model::Decoder& decoder = trainer.memory().decoder;
  const auto all = decoder.parameters().count();
  const auto trainable = decoder.parameters().trainable_count();
  log::info("model: {} ({}), {} parameters, {} trained ({:.2f} %)", job.checkpoint.string(), job.model.architecture,
            millions(all), millions(trainable), 100.0 * static_cast<double>(trainable) / static_cast<double>(all));
  log::info("device: {}, computing in {}", backend(job.device.type).describe(job.device.index),
            name_of(decoder.options().compute_dtype));
}

model::DecoderOptions options_of(const train::TrainingJob& job) {
  return train::training_options(job.config, job.model, job.device);
}

train::MemoryPlan plan_memory(const train::TrainingJob& job) {
  return train::plan_memory(job.model, options_of(job), job.device);
}

void check_disk(const train::TrainingJob& job) {
  const std::int64_t iterations = job.saved ? job.saved->state().iteration : 0;
  const std::int64_t states = checkpoint::count_states(train::checkpoint_directory(job.config));
  train::check_disk(job.config, train::plan_disk(job.config, job.model, options_of(job), iterations, states));
}

void say_dry_run(const config::Resolved& resolved, const train::TrainingJob& job) {
  fmt::print("{}\n", config::to_yaml(resolved.config));
  fmt::print("checkpoint: {}\n", job.checkpoint.string());
  const train::MemoryPlan plan = plan_memory(job);
  fmt::print("memory: {}\n", plan.summary());
  fmt::print("computed again in backward: {}\n", plan.recompute);
  fmt::print("would write to: {}\n", job.config.run_directory());
  fmt::print("disk: {}\n", train::plan_disk(job.config, job.model, options_of(job)).summary());
}

/// Two runs in one folder would mix their metrics and replace each other's checkpoints.
FileLock lock_run(const std::filesystem::path& directory) {
  return FileLock(directory / ".lock", [&] {
    throw bad_input("{}: another run is at work in this folder: wait for it, or name another exp_name",
                    directory.string());
  });
}

data::LoadedData load_data(const train::TrainingJob& job, const tokenizer::Tokenizer* tokenizer) {
  data::LoadSettings settings = data_settings(job.config, job.model);
  show_progress(settings);
  return data::load(settings, tokenizer);
}

void report_data(const data::LoadedData& loaded, const data::BatchPlan& plan, int eval_iters) {
  log::info("training data: {}", loaded.training.summary.text());
  if (loaded.validation) {
    log::info("validation data: {}", loaded.validation->summary.text());
    if (eval_iters == 0) log::info("no validation: eval_iters is 0");
  } else {
    log::info("no validation: neither dataset.validation_path nor dataset.validation_fraction is set");
  }
  if (plan.settings().packed) {
    log::info("packing: {} packs, {:.1f} % full", plan.units(), 100.0 * plan.efficiency());
  }
}

int run(const Arguments& arguments) {
  std::signal(SIGPIPE, SIG_IGN);  // a log that nobody reads any more (2>&1 | head) costs lines and not the run
  const config::Resolved resolved = load_configuration(arguments);
  config::check_single_process(resolved);
  config::check_layout(resolved, 1);
  check_dataset(resolved);
  // what the shapes tell comes before a download of weights
  OpenedCheckpoint opened = open_checkpoint(resolved, train::CheckpointParts::kWithoutWeights);
  const train::InterruptGuard interrupt;  // before the device's libraries start threads, which could take the signals
  train::TrainingJob job{.config = resolved.config,
                         .model = std::move(opened.model),
                         .checkpoint = std::move(opened.folder),
                         .device = train::choose_device(resolved.config.device),
                         .training = {},
                         .validation = {},
                         .saved = {}};
  if (arguments.dry_run) {
    say_dry_run(resolved, job);
    return 0;
  }
  train::require_fit(job.config, job.model, plan_memory(job), job.device);
  job.checkpoint = train::resolve_checkpoint(job.config.hf_path);

  const std::filesystem::path directory = make_run_directory(job.config);
  const FileLock lock = lock_run(directory);
  remove_abandoned(directory, [](std::string_view name) {
    return name == "config.yaml" || name == "metrics.jsonl" || name == "hf" || name == "adapter";
  });
  log::add_file((directory / "logs/train.log").string());
  log::info("run: {}", directory.string());

  if (!job.config.peft_adapter.empty()) train::check_adapter(job.config);
  job.saved = train::state_to_resume(job.config, job.checkpoint);
  check_disk(job);
  const std::optional<tokenizer::Tokenizer> tokenizer = open_tokenizer(job.checkpoint);
  const data::LoadedData loaded = load_data(job, tokenizer ? &*tokenizer : nullptr);
  job.training = loaded.training.tokens;
  if (job.saved) train::check_rows(*job.saved, job.training);
  if (loaded.validation) job.validation = loaded.validation->tokens;

  train::Trainer trainer(job);
  report_data(loaded, trainer.plan(), job.config.eval_iters);
  say_what_trains(trainer, job);
  log::info("memory: {}", trainer.memory_plan().summary());
  log::info("computed again in backward: {}", trainer.memory_plan().recompute);

  const std::int64_t resumed = trainer.resume();
  write_text(directory / "config.yaml", config::to_yaml(job.config));
  if (resumed >= job.config.train_iters) {
    log::info("this run has done its {} iterations already: raise train_iters to go on, or name another exp_name",
              job.config.train_iters);
    if (job.config.export_hf) log::info("wrote {}", trainer.export_result().string());
    return 0;
  }
  monitor::Monitor monitor({.run_directory = directory,
                            .train_iters = job.config.train_iters,
                            .resumed_iteration = resumed,
                            .log_interval = job.config.log_interval});
  const bool complete = trainer.run({.step = [&](const monitor::StepMetrics& step) { monitor.step(step); },
                                     .validation = [&](const monitor::ValidationMetrics& v) { monitor.validation(v); }},
                                    [&] { return interrupt.requested(); });
  monitor.finish();
  if (!complete) {
    log::info("interrupted after iteration {}: saved. The same command goes on from here", trainer.iteration());
    return static_cast<int>(interrupt.exit_code());
  }
  if (job.config.export_hf) log::info("wrote {}", trainer.export_result().string());
  return 0;
}

}  // namespace

Command train_posttrain_command() {
  return {
      .name = "train posttrain",
      .summary = "Fine-tune a checkpoint: all weights (peft: none) or LoRA adapters (peft: lora)",
      .details =
          "Reads hf_path and dataset.path, trains, and leaves in <workspace>/<work_group>/<user_name>/<exp_name>/:\n"
          "config.yaml, metrics.jsonl, logs/, tensorboard/, checkpoints/, and at the end hf/ or adapter/.\n"
          "The same command again goes on from the newest checkpoint. Ctrl-C saves and exits with 130.",
      .options = {config_option(true)},
      .takes_overrides = true,
      .run = run};
}

}  // namespace primus::cli
