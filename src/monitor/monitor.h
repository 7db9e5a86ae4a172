#pragma once

#include <cstdint>
#include <filesystem>

#include "monitor/event_file.h"
#include "monitor/metrics.h"
#include "monitor/metrics_file.h"
#include "monitor/progress.h"

namespace primus::monitor {

struct MonitorOptions {
  std::filesystem::path run_directory;  // gets metrics.jsonl and tensorboard/
  std::int64_t train_iters = 0;
  std::int64_t resumed_iteration = 0;  // 0: from the start
  int log_interval = 1;                // for plain log lines; the files get every iteration
};

/// Everything that a run reports, told in one place. Only rank 0 has one; calls come from one thread.
class Monitor {
 public:
  /// Throws Error when the directory or its files cannot be opened.
  explicit Monitor(const MonitorOptions& options);

  void step(const StepMetrics& step);
  void validation(const ValidationMetrics& validation);
  /// Ends the bar, so that closing words stand below it.
  void finish();

 private:
  MetricsFile metrics_;
  EventFile events_;
  Progress progress_;
};

}  // namespace primus::monitor
