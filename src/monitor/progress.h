#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "monitor/metrics.h"

namespace primus::monitor {

struct ProgressOptions {
  std::int64_t train_iters = 0;
  std::int64_t resumed_iteration = 0;  // iterations done before this process
  int log_interval = 1;                // plain lines: one every so many iterations, and the last
  std::FILE* terminal = stderr;        // where the bar goes when this is a terminal
  std::optional<int> columns;          // set: a bar of that width, whatever `terminal` is
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

/// What a person sees of a run: on a terminal a bar on the last line, redrawn at most ten times a second by steps and
/// once after each log line, which it lets pass above, while the log file gets the lines; elsewhere (a file, a pipe,
/// TERM=dumb) a log line a step.
class Progress {
 public:
  explicit Progress(ProgressOptions options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(const StepMetrics& step);
  void validation(const ValidationMetrics& validation);
  /// Draws the last state and leaves it standing above what follows. The destructor, too, calls it.
  void finish();

  bool draws_bar() const { return bar_; }

 private:
  using Clock = std::chrono::steady_clock;

  static void before_log_line();
  static void after_log_line();
  int columns() const;
  void draw();   // holds mutex_
  void clear();  // holds mutex_

  ProgressOptions options_;
  const bool bar_;
  const Clock::time_point start_;
  std::mutex mutex_;  // taken after the log's own
  StepMetrics last_;
  bool drawn_ = false;
  Clock::time_point last_draw_;
};

/// iteration 12/200 | loss 1.2345 | grad norm 0.98 | lr 1.0e-04 | 123.4 ms | 12345 tokens/s | 1.23 TFLOP/s | 1.20 GiB
std::string step_line(const StepMetrics& step, std::int64_t train_iters);

/// iteration 30/200 | validation loss 1.2345 | perplexity 3.44 | 4096 tokens
std::string validation_line(const ValidationMetrics& validation, std::int64_t train_iters);

/// The bar in at most `width` columns (ASCII), for example
///     12/200 [=>                  ]   6% | loss 1.2345 | 12345 tokens/s | 0:12 elapsed, 3:08 left
/// Parts that do not fit fall away, the last ones first. `elapsed_seconds` is this process's, and the time left follows
/// from it and the iterations that this process did.
std::string bar_line(const StepMetrics& last, const ProgressOptions& options, double elapsed_seconds, int width);

/// 0:07, 12:34, 1:02:03, 2d 03:04:05
std::string duration_text(double seconds);

}  // namespace primus::monitor
