#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "checkpoint/hf.h"
#include "checkpoint/peft.h"
#include "checkpoint/safetensors.h"
#include "ops/step_state.h"
#include "train/fit.h"
#include "train/optimizer.h"
#include "train/resume.h"
#include "train/schedule.h"
#include "train/setup.h"

namespace primus::train {
namespace {

namespace fs = std::filesystem;

/// So many steps in a row without a finite gradient, and no smaller loss scale to try, end the run.
constexpr std::int32_t kMaxSkippedInARow = 10;

data::BatchPlanSettings plan_settings(const config::RunConfig& config) {
  return {.global_batch_size = config.global_batch_size,
          .micro_batch_size = config.micro_batch_size,
          .seq_length = config.seq_length,
          .packed = config.packed_sequence,
          .shuffle = config.dataset.shuffle,
          .seed = config.seed,
          .source_weights = config.dataset.weights};
}

bool trains_adapters(const config::RunConfig& config) { return config.peft == config::Peft::kLora; }

}  // namespace

fs::path checkpoint_directory(const config::RunConfig& config) {
  return config.save.empty() ? fs::path(config.run_directory()) / kCheckpoints : fs::path(config.save);
}

/// A step that has been put on the stream and not been told yet.
struct Trainer::Pending {
  std::int64_t iteration = 0;  // from 1
  double learning_rate = 0.0;
  Work work;
  Tensor state;                        // the copy that the step leaves
  const StepEvents* events = nullptr;  // its beginning and end on the device
};

Trainer::Trainer(TrainingJob job)
    : job_(std::move(job)),
      plan_(job_.training, plan_settings(job_.config)),
      stream_(job_.device),
      readback_(job_.device),
      events_{StepEvents(job_.device), StepEvents(job_.device)} {
  const config::RunConfig& config = job_.config;
  if (job_.validation && config.eval_iters > 0) {
    eval_plan_.emplace(*job_.validation, data::EvalPlanSettings{.eval_iters = config.eval_iters,
                                                                .global_batch_size = config.global_batch_size,
                                                                .micro_batch_size = config.micro_batch_size,
                                                                .seq_length = config.seq_length,
                                                                .packed = config.packed_sequence});
  }
  const model::DecoderOptions options = training_options(config, job_.model, job_.device);
  memory_plan_ = plan_memory(job_.model, options, job_.device);
  require_fit(config, job_.model, memory_plan_, job_.device);
  arena_.emplace(Arena::allocate(job_.device, memory_plan_.total));
  memory_ = std::make_unique<DeviceMemory>(job_.model, options, *arena_);
  load();
}

Trainer::~Trainer() = default;

void Trainer::load() {
  model::Decoder& decoder = memory_->decoder;
  memory_->initialize(stream_);
  checkpoint::load_weights(job_.checkpoint, decoder.parameters(), stream_);
  if (trains_adapters(job_.config)) {
    base_fingerprint_ = checkpoint::fingerprint(checkpoint::ModelFiles(job_.checkpoint));
    if (job_.config.peft_adapter.empty()) {
      model::initialize_adapters(stream_, decoder.parameters(), job_.config.seed);
    } else {
      checkpoint::load_adapter(job_.config.peft_adapter, decoder.parameters(), stream_);
    }
  }
  initialize_state(stream_, job_.config, memory_->state);
}

std::int64_t Trainer::resume() {
  const auto& saved = job_.saved;
  if (!saved) return 0;
  checkpoint::load_state(*saved, memory_->decoder.parameters(), stream_, base_fingerprint_);
  ops::StepState state{};
  stream_.copy_to_host(&state, memory_->state);
  take_state(saved->state(), job_.config, state);
  stream_.copy_to_device(memory_->state, &state);
  iteration_ = saved->state().iteration;
  saved_at_ = iteration_;
  log::info("resumed from {} after {} iterations", saved->folder().string(), iteration_);
  return iteration_;
}

Trainer::Pending Trainer::enqueue_step() {
  const config::RunConfig& config = job_.config;
  StepEvents& events = events_.at(static_cast<std::size_t>(iteration_ % 2));
  Pending pending{.iteration = iteration_ + 1,
                  .learning_rate = learning_rate(config, iteration_),
                  .state = memory_->state_read.slice(iteration_ % 2, iteration_ % 2 + 1),
                  .events = &events};
  events.begin.record(stream_);
  ops::begin_step(stream_, memory_->state);
  const auto scale = static_cast<float>(1.0 / static_cast<double>(plan_.trained_tokens(iteration_)));
  for (std::int64_t i = 0; i < plan_.micro_batches(); ++i) {
    plan_.assemble(iteration_, i, host_batch_);
    pending.work += work_of(host_batch_);
    const model::Pass pass{
        .stream = stream_,
        .training = true,
        .seed = config.seed,
        .micro_batch = static_cast<std::uint64_t>(iteration_ * plan_.micro_batches() + i),
        .accumulate = i > 0,
    };
    memory_->decoder.forward_backward(pass, upload(stream_, *memory_, host_batch_), scale, memory_->state);
  }
  update(stream_, config, pending.learning_rate, memory_->decoder, memory_->state);
  stream_.copy(pending.state, memory_->state.as_matrix(1, memory_->state.columns()));
  events.end.record(stream_);
  ++iteration_;
  return pending;
}

void Trainer::report(const Pending& pending, const TrainingListener& listener) {
  // only this step is waited for: the next one is on its way already
  const double seconds = pending.events->begin.seconds_until(pending.events->end);
  ops::StepState state{};
  readback_.copy_to_host(&state, pending.state);
  const bool trains_base = !trains_adapters(job_.config);
  const auto trained = static_cast<double>(pending.work.trained_tokens);
  const monitor::StepMetrics metrics{
      .iteration = pending.iteration,
      .loss = state.loss_sum / trained,
      .grad_norm = state.grad_norm,
      .learning_rate = pending.learning_rate,
      .tokens = pending.work.tokens,
      .trained_tokens = pending.work.trained_tokens,
      .elapsed_ms = seconds * 1e3,
      .tokens_per_second_per_gpu = static_cast<double>(pending.work.tokens) / seconds,
      .model_tflops_per_gpu = model_flops(job_.model, pending.work, trains_base) / seconds * 1e-12,
      .memory_gib = static_cast<double>(memory_plan_.total) / 0x1p30,
      .skipped = state.skip,
  };
  if (listener.step) listener.step(metrics);
  if (state.skip == 0) return;
  log::warning("iteration {}: the {} is not finite; the step is skipped ({} in all){}", pending.iteration,
               std::isfinite(state.loss_sum) ? "gradient" : "loss", state.skipped,
               job_.config.precision_config == config::Precision::kFp16Mixed
                   ? fmt::format(", loss scale now {}", state.loss_scale)
                   : "");
  const bool can_scale_down = job_.config.precision_config == config::Precision::kFp16Mixed && state.loss_scale > 1.0;
  if (state.skipped_in_a_row >= kMaxSkippedInARow && !can_scale_down) {
    throw run_failed(
        "the last {} steps had no finite loss or gradient (iteration {}): the run has diverged. {}. Lower finetune_lr, "
        "lengthen lr_warmup_iters, or look at the data of these steps",
        state.skipped_in_a_row, pending.iteration,
        saved_at_ > 0 ? "The last checkpoint is " +
                            (checkpoint_directory(job_.config) / checkpoint::state_name(saved_at_)).string()
                      : "Nothing was saved yet");
  }
}

void Trainer::evaluate_now(const TrainingListener& listener) {
  // evaluation uses the step state's sums, which a step clears at its beginning
  const Evaluation result = evaluate(stream_, *memory_, *eval_plan_);
  if (listener.validation) {
    listener.validation({.iteration = iteration_, .validation_loss = result.loss, .validation_tokens = result.tokens});
  }
}

void Trainer::save() {
  ops::StepState state{};
  stream_.copy_to_host(&state, memory_->state);
  checkpoint::TrainingState saved{
      .iteration = iteration_,
      .consumed_rows = iteration_ * job_.config.global_batch_size,
      .seed = job_.config.seed,
      .config_json = run_json(job_.config, job_.training, job_.model, job_.checkpoint),
      .base_path = trains_adapters(job_.config) ? fs::absolute(job_.checkpoint).string() : "",
      .base_fingerprint = base_fingerprint_,
  };
  put_state(state, saved);
  const fs::path directory = checkpoint_directory(job_.config);
  const fs::path folder = checkpoint::save_checkpoint(directory, saved, memory_->decoder.parameters(), stream_);
  saved_at_ = iteration_;
  log::info("saved {}", folder.string());
  checkpoint::prune(directory, std::max(job_.config.most_recent_k, 0));
}

bool Trainer::run(const TrainingListener& listener, const std::function<bool()>& interrupted) {
  try {
    return run_steps(listener, interrupted);
  } catch (const DeviceError& error) {
    throw DeviceError(fmt::format("in or before iteration {}: {}", iteration_ + 1, error.what()));
  }
}

bool Trainer::run_steps(const TrainingListener& listener, const std::function<bool()>& interrupted) {
  const config::RunConfig& config = job_.config;
  const bool on_host = job_.device.type == DeviceType::kCpu;
  std::optional<Pending> pending;
  const auto settle = [&] {
    if (!pending) return;
    const Pending last = std::move(*pending);
    pending.reset();
    report(last, listener);
  };
  while (iteration_ < config.train_iters) {
    Pending next = enqueue_step();
    settle();
    pending.emplace(std::move(next));
    const bool is_last = iteration_ == config.train_iters;
    const bool evaluates =
        eval_plan_ && (is_last || (config.eval_interval > 0 && iteration_ % config.eval_interval == 0));
    const bool saves = is_last || (config.save_interval > 0 && iteration_ % config.save_interval == 0);
    const bool stops = interrupted && interrupted();
    if (on_host || evaluates || saves || stops) settle();
    if (evaluates) evaluate_now(listener);
    if (saves || stops) save();
    if (stops) return is_last;
  }
  return true;
}

fs::path Trainer::export_result() {
  const config::RunConfig& config = job_.config;
  const fs::path directory = config.run_directory();
  const model::Decoder& decoder = memory_->decoder;
  if (!trains_adapters(config)) {
    const fs::path folder = directory / "hf";
    checkpoint::save_model(folder, decoder.parameters(), job_.model, stream_, {.source = job_.checkpoint});
    return folder;
  }
  const fs::path folder = directory / "adapter";
  const model::LoraOptions& lora = *decoder.options().lora;
  checkpoint::save_adapter(folder, decoder.parameters(),
                           {.rank = lora.rank,
                            .alpha = lora.alpha,
                            .dropout = lora.dropout,
                            .target_modules = lora.target_modules,
                            .base_model_name = config.hf_path},
                           stream_);
  return folder;
}

}  // namespace primus::train
