#include "monitor/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "monitor/terminal.h"

namespace primus::monitor {
namespace {

constexpr auto kRedrawInterval = std::chrono::milliseconds(100);

/// The log calls plain functions, so the bar that has to step aside stands here while one exists.
Progress* shown_bar = nullptr;

/// NaN has a sign that means nothing.
double without_sign(double value) { return std::isnan(value) ? std::fabs(value) : value; }

}  // namespace

std::string duration_text(double seconds) {
  const auto total = std::llround(std::clamp(seconds, 0.0, 8.64e9));
  const auto days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60, rest = total % 60;
  if (days > 0) return fmt::format("{}d {:02}:{:02}:{:02}", days, hours, minutes, rest);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
  return fmt::format("{}:{:02}", minutes, rest);
}

std::string step_line(const StepMetrics& step, std::int64_t train_iters) {
  std::string line = fmt::format(
      "iteration {}/{} | loss {:.4f} | grad norm {:.2f} | lr {:.1e} | {:.1f} ms | {:.0f} tokens/s | {:.3g} TFLOP/s | "
      "{:.2f} GiB",
      step.iteration, train_iters, without_sign(step.loss), without_sign(step.grad_norm), step.learning_rate,
      step.elapsed_ms, step.tokens_per_second_per_gpu, step.model_tflops_per_gpu, step.memory_gib);
  if (step.skipped != 0) line += " | skipped";
  return line;
}

std::string validation_line(const ValidationMetrics& validation, std::int64_t train_iters) {
  return fmt::format("iteration {}/{} | validation loss {:.4f} | perplexity {:.2f} | {} tokens", validation.iteration,
                     train_iters, validation.validation_loss, std::exp(validation.validation_loss),
                     validation.validation_tokens);
}

std::string bar_line(const StepMetrics& last, const ProgressOptions& options, double elapsed_seconds, int width) {
  const std::int64_t total = std::max<std::int64_t>(options.train_iters, 1);
  const std::int64_t here = last.iteration - options.resumed_iteration;
  const double fraction = std::clamp(static_cast<double>(last.iteration) / static_cast<double>(total), 0.0, 1.0);
  const std::string left =
      here <= 0
          ? "?"
          : duration_text(elapsed_seconds / static_cast<double>(here) * static_cast<double>(total - last.iteration));
  const std::array parts = {
      fmt::format("{}/{}", last.iteration, options.train_iters),
      fmt::format(" [{}] {:3.0f}%", gauge(fraction), std::floor(fraction * 100)),
      fmt::format(" | loss {:.4f}", without_sign(last.loss)),
      fmt::format(" | {:.0f} tokens/s", last.tokens_per_second_per_gpu),
      fmt::format(" | {} elapsed, {} left", duration_text(elapsed_seconds), left),
  };
  std::string line;
  for (const std::string& part : parts) {
    if (line.size() + part.size() > static_cast<std::size_t>(std::max(width, 0))) break;
    line += part;
  }
  return line;
}

Progress::Progress(ProgressOptions options)
    : options_(std::move(options)),
      bar_(options_.columns.has_value() || can_redraw(options_.terminal)),
      start_(options_.now()) {
  last_.iteration = options_.resumed_iteration;
  if (!bar_) return;
  PRIMUS_CHECK(shown_bar == nullptr);
  shown_bar = this;
  log::set_terminal_hooks(before_log_line, after_log_line);
}

Progress::~Progress() {
  if (!bar_) return;
  finish();
  log::set_terminal_hooks(nullptr, nullptr);
  shown_bar = nullptr;
}

void Progress::step(const StepMetrics& step) {
  const bool is_told =
      step.iteration == options_.train_iters || step.iteration % std::max(options_.log_interval, 1) == 0;
  if (!bar_) {
    if (is_told) log::info("{}", step_line(step, options_.train_iters));
    return;
  }
  if (is_told) log::write_to_file(step_line(step, options_.train_iters));
  const std::lock_guard lock(mutex_);
  last_ = step;
  if (!drawn_ || options_.now() - last_draw_ >= kRedrawInterval) draw();
}

void Progress::validation(const ValidationMetrics& validation) {
  log::info("{}", validation_line(validation, options_.train_iters));
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (!drawn_) return;
  draw();
  std::fputc('\n', options_.terminal);
  std::fflush(options_.terminal);
  drawn_ = false;
}

void Progress::before_log_line() {
  const std::lock_guard lock(shown_bar->mutex_);
  if (shown_bar->drawn_) shown_bar->clear();
}

void Progress::after_log_line() {
  const std::lock_guard lock(shown_bar->mutex_);
  if (shown_bar->drawn_) shown_bar->draw();
}

int Progress::columns() const { return options_.columns ? *options_.columns : terminal_width(options_.terminal); }

void Progress::draw() {
  last_draw_ = options_.now();
  const double elapsed = std::chrono::duration<double>(last_draw_ - start_).count();
  // one column stays free: a cursor behind the last one makes some terminals wrap
  redraw_line(options_.terminal, bar_line(last_, options_, elapsed, columns() - 1));
  drawn_ = true;
}

void Progress::clear() { clear_line(options_.terminal); }

}  // namespace primus::monitor
