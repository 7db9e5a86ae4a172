#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "checkpoint/training_state.h"
#include "config/run_config.h"
#include "data/batch_plan.h"
#include "data/token_set.h"
#include "monitor/metrics.h"
#include "train/evaluate.h"
#include "train/flops.h"
#include "train/memory_plan.h"

namespace primus::train {

/// What a run is made of, all of it read and checked.
struct TrainingJob {
  config::RunConfig config;
  model::ModelConfig model;
  std::filesystem::path checkpoint;  // the folder that hf_path resolved to
  Device device;
  data::TokenSet training;
  std::optional<data::TokenSet> validation;
  std::optional<checkpoint::VerifiedState> saved;  // to go on from
};

/// Who is told what happens, as it happens. Empty functions are not called.
struct TrainingListener {
  std::function<void(const monitor::StepMetrics&)> step;
  std::function<void(const monitor::ValidationMetrics&)> validation;
};

/// The training loop over one device: micro-batches, optimizer, evaluation, checkpoints.
class Trainer {
 public:
  /// Allocates everything, loads the weights, makes or loads the adapters. Throws Error when it does not fit or does
  /// not load.
  explicit Trainer(TrainingJob job);
  ~Trainer();

  /// Continues from job.saved, if there is one. Returns the iterations done.
  std::int64_t resume();

  /// Runs to train_iters, or until `interrupted` answers true after a step: then it saves. Returns whether the run is
  /// complete. Throws Error (kRunFailed) when too many steps in a row are not finite.
  bool run(const TrainingListener& listener, const std::function<bool()>& interrupted);

  /// Writes hf/ or adapter/ into the run directory, as config.export_hf asks. Returns the folder written.
  std::filesystem::path export_result();

  std::int64_t iteration() const { return iteration_; }
  const DeviceMemory& memory() const { return *memory_; }
  DeviceMemory& memory() { return *memory_; }
  Stream& stream() { return stream_; }
  const data::BatchPlan& plan() const { return plan_; }
  const MemoryPlan& memory_plan() const { return memory_plan_; }

 private:
  struct Pending;
  struct StepEvents {
    explicit StepEvents(Device device) : begin(device), end(device) {}
    Event begin;
    Event end;
  };

  void load();
  bool run_steps(const TrainingListener& listener, const std::function<bool()>& interrupted);
  Pending enqueue_step();
  void report(const Pending& pending, const TrainingListener& listener);
  void evaluate_now(const TrainingListener& listener);
  void save();

  TrainingJob job_;
  data::BatchPlan plan_;
  std::optional<data::EvalPlan> eval_plan_;
  MemoryPlan memory_plan_;
  std::optional<Arena> arena_;
  Stream stream_;
  Stream readback_;
  std::array<StepEvents, 2> events_;  // of the step that runs and of the one behind it
  std::unique_ptr<DeviceMemory> memory_;
  data::MicroBatch host_batch_;
  std::string base_fingerprint_;
  std::int64_t iteration_ = 0;  // steps done
  std::int64_t saved_at_ = -1;
};

constexpr const char* kCheckpoints = "checkpoints";
/// Where a run's checkpoints go: config.save, or kCheckpoints in its directory.
std::filesystem::path checkpoint_directory(const config::RunConfig& config);

}  // namespace primus::train
