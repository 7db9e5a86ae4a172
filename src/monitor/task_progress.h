#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace primus::monitor {

struct TaskOptions {
  std::string label;             // "tokenizing"
  std::FILE* terminal = stderr;  // where the bar goes when this is a terminal
  std::optional<int> columns;    // set: a bar of that width, whatever `terminal` is
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

/// A bar for work that is measured in bytes, on the last line of a terminal, redrawn at most ten times a second; gone
/// when the work is done. Elsewhere a log line every ten seconds, so short work says nothing. While there is one, a
/// second one draws no bar; none may be beside a Progress. Any thread may call `update`.
class TaskProgress {
 public:
  explicit TaskProgress(TaskOptions options);
  ~TaskProgress();
  TaskProgress(const TaskProgress&) = delete;
  TaskProgress& operator=(const TaskProgress&) = delete;

  void update(std::int64_t done, std::int64_t total);

 private:
  using Clock = std::chrono::steady_clock;

  static void before_log_line();
  static void after_log_line();
  double elapsed_seconds() const { return std::chrono::duration<double>(options_.now() - start_).count(); }
  void draw();   // holds mutex_
  void clear();  // holds mutex_

  TaskOptions options_;
  const bool bar_;
  const Clock::time_point start_;
  std::mutex mutex_;
  std::int64_t done_ = 0;
  std::int64_t total_ = 0;
  bool drawn_ = false;
  Clock::time_point last_told_;
};

/// tokenizing [=====>              ]  27% | 1.2 of 4.2 MB | 3.4 MB/s | 0:01 left
/// in at most `width` columns (ASCII): parts that do not fit fall away, the last ones first.
std::string task_line(const std::string& label, std::int64_t done, std::int64_t total, double elapsed_seconds,
                      int width);

}  // namespace primus::monitor
