#include "monitor/monitor.h"

#include "base/file.h"

namespace primus::monitor {
namespace {

const std::filesystem::path& made(const std::filesystem::path& directory) {
  make_directories(directory);
  return directory;
}

}  // namespace

Monitor::Monitor(const MonitorOptions& options)
    : metrics_(made(options.run_directory) / "metrics.jsonl", options.resumed_iteration),
      events_(options.run_directory / "tensorboard", options.resumed_iteration),
      progress_({.train_iters = options.train_iters,
                 .resumed_iteration = options.resumed_iteration,
                 .log_interval = options.log_interval}) {}

void Monitor::step(const StepMetrics& step) {
  metrics_.write(step);
  events_.write(step);
  progress_.step(step);
}

void Monitor::validation(const ValidationMetrics& validation) {
  metrics_.write(validation);
  events_.write(validation);
  progress_.validation(validation);
}

void Monitor::finish() { progress_.finish(); }

}  // namespace primus::monitor
