#include "monitor/task_progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/log.h"
#include "monitor/progress.h"
#include "monitor/terminal.h"

namespace primus::monitor {
namespace {

constexpr auto kRedrawInterval = std::chrono::milliseconds(100);
constexpr auto kLogInterval = std::chrono::seconds(10);
constexpr int kNoLimit = 1000;

/// The log calls plain functions, so the bar that has to step aside stands here while one exists.
TaskProgress* shown_task = nullptr;

struct Unit {
  double bytes;
  const char* name;
};

Unit unit_for(std::int64_t bytes) {
  if (bytes >= 1'000'000'000) return {1e9, "GB"};
  if (bytes >= 1'000'000) return {1e6, "MB"};
  return {1e3, "kB"};
}

}  // namespace

std::string task_line(const std::string& label, std::int64_t done, std::int64_t total, double elapsed_seconds,
                      int width) {
  const double fraction =
      total <= 0 ? 0.0 : std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
  const double rate = elapsed_seconds > 0 ? static_cast<double>(done) / elapsed_seconds : 0.0;
  const Unit size = unit_for(total), speed = unit_for(static_cast<std::int64_t>(rate));
  const std::string left = rate > 0 ? duration_text(static_cast<double>(total - done) / rate) : "?";
  const std::array parts = {
      label,
      fmt::format(" [{}] {:3.0f}%", gauge(fraction), std::floor(fraction * 100)),
      fmt::format(" | {:.1f} of {:.1f} {}", static_cast<double>(done) / size.bytes,
                  static_cast<double>(total) / size.bytes, size.name),
      fmt::format(" | {:.1f} {}/s", rate / speed.bytes, speed.name),
      fmt::format(" | {} left", left),
  };
  std::string line;
  for (const std::string& part : parts) {
    if (line.size() + part.size() > static_cast<std::size_t>(std::max(width, 0))) break;
    line += part;
  }
  return line;
}

TaskProgress::TaskProgress(TaskOptions options)
    : options_(std::move(options)),
      bar_(shown_task == nullptr && (options_.columns.has_value() || can_redraw(options_.terminal))),
      start_(options_.now()),
      last_told_(start_) {
  if (!bar_) return;
  shown_task = this;
  log::set_terminal_hooks(before_log_line, after_log_line);
}

TaskProgress::~TaskProgress() {
  if (!bar_) return;
  log::set_terminal_hooks(nullptr, nullptr);
  shown_task = nullptr;
  if (drawn_) clear();
}

void TaskProgress::update(std::int64_t done, std::int64_t total) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  total_ = total;
  const auto since = options_.now() - last_told_;
  if (bar_ && (!drawn_ || since >= kRedrawInterval)) {
    draw();
  } else if (!bar_ && since >= kLogInterval) {
    last_told_ = options_.now();
    log::info("{}", task_line(options_.label, done_, total_, elapsed_seconds(), kNoLimit));
  }
}

void TaskProgress::before_log_line() {
  const std::lock_guard lock(shown_task->mutex_);
  if (shown_task->drawn_) shown_task->clear();
}

void TaskProgress::after_log_line() {
  const std::lock_guard lock(shown_task->mutex_);
  if (shown_task->drawn_) shown_task->draw();
}

void TaskProgress::draw() {
  last_told_ = options_.now();
  const int columns = options_.columns ? *options_.columns : terminal_width(options_.terminal);
  redraw_line(options_.terminal, task_line(options_.label, done_, total_, elapsed_seconds(), columns - 1));
  drawn_ = true;
}

void TaskProgress::clear() { clear_line(options_.terminal); }

}  // namespace primus::monitor
