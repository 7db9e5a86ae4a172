#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "base/file.h"
#include "base/log.h"
#include "monitor/progress.h"
#include "screen.h"
#include "support.h"

namespace primus::monitor {
namespace {

using std::chrono::milliseconds;

/// A real terminal, where the system has any (a bare chroot does not): else `file()` is null.
class Terminal {
 public:
  explicit Terminal(int columns) {
    ::setenv("TERM", "xterm", 1);
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) return;
    const char* name = ::ptsname(master_);
    const int slave = name == nullptr ? -1 : ::open(name, O_RDWR | O_NOCTTY);
    if (slave < 0) return;
    resize(columns);
    file_ = ::fdopen(slave, "w");
  }
  ~Terminal() {
    if (file_ != nullptr) std::fclose(file_);
    if (master_ >= 0) ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void resize(int columns) const {
    const winsize size{.ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(::ioctl(master_, TIOCSWINSZ, &size), 0);
  }
  std::FILE* file() const { return file_; }
  std::string drain() const {
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(master_, buffer.data(), buffer.size());
    return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }

 private:
  int master_ = -1;
  std::FILE* file_ = nullptr;
};

/// A clock that the test moves.
struct Watch {
  std::chrono::steady_clock::time_point time{};
  std::function<std::chrono::steady_clock::time_point()> now() {
    return [this] { return time; };
  }
};

std::string lines_of(ProgressOptions options, std::int64_t first, std::int64_t last) {
  testing::internal::CaptureStderr();
  Progress progress(std::move(options));
  for (std::int64_t i = first; i <= last; ++i) progress.step(example_step(i));
  progress.finish();
  return testing::internal::GetCapturedStderr();
}

TEST(StepLine, IsTheDocumentedOne) {
  EXPECT_EQ(step_line(example_step(12), 200),
            "iteration 12/200 | loss 1.2345 | grad norm 0.98 | lr 1.0e-04 | 123.4 ms | 12345 tokens/s | 1.23 TFLOP/s | "
            "1.20 GiB");
}

TEST(StepLine, TellsOfSkippedSteps) {
  StepMetrics step = example_step(3);
  step.loss = std::numeric_limits<double>::quiet_NaN();
  step.skipped = 1;
  const std::string line = step_line(step, 200);
  EXPECT_NE(line.find("| loss nan |"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with(" GiB | skipped")) << line;
}

TEST(ValidationLine, GivesPerplexity) {
  EXPECT_EQ(validation_line({.iteration = 30, .validation_loss = 1.0, .validation_tokens = 4096}, 200),
            "iteration 30/200 | validation loss 1.0000 | perplexity 2.72 | 4096 tokens");
}

TEST(DurationText, ReadsWell) {
  EXPECT_EQ(duration_text(0), "0:00");
  EXPECT_EQ(duration_text(7.4), "0:07");
  EXPECT_EQ(duration_text(754), "12:34");
  EXPECT_EQ(duration_text(3723), "1:02:03");
  EXPECT_EQ(duration_text(2 * 86400 + 3 * 3600 + 245), "2d 03:04:05");
  EXPECT_EQ(duration_text(-1), "0:00");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "100000d 00:00:00");
}

TEST(BarLine, ShowsTheRun) {
  EXPECT_EQ(bar_line(example_step(50), {.train_iters = 200}, 60.0, 100),
            "50/200 [=====>              ]  25% | loss 1.2345 | 12345 tokens/s | 1:00 elapsed, 3:00 left");
  EXPECT_EQ(bar_line(example_step(200), {.train_iters = 200}, 60.0, 100),
            "200/200 [====================] 100% | loss 1.2345 | 12345 tokens/s | 1:00 elapsed, 0:00 left");
}

TEST(BarLine, CountsTimeFromWhereTheRunResumed) {
  const std::string line = bar_line(example_step(150), {.train_iters = 200, .resumed_iteration = 100}, 60.0, 100);
  EXPECT_TRUE(line.ends_with("1:00 elapsed, 1:00 left")) << line;
  StepMetrics none;
  none.iteration = 100;
  const std::string start = bar_line(none, {.train_iters = 200, .resumed_iteration = 100}, 1.0, 100);
  EXPECT_TRUE(start.ends_with("0:01 elapsed, ? left")) << start;
}

TEST(BarLine, FitsAnyWidth) {
  for (int width = 0; width < 100; ++width) {
    EXPECT_LE(bar_line(example_step(50), {.train_iters = 200}, 60.0, width).size(), static_cast<std::size_t>(width));
  }
  EXPECT_EQ(bar_line(example_step(50), {.train_iters = 200}, 60.0, 50),
            "50/200 [=====>              ]  25% | loss 1.2345");
  EXPECT_EQ(bar_line(example_step(50), {.train_iters = 200}, 60.0, 10), "50/200");
}

TEST(ProgressLines, OneLineAStep) {
  EXPECT_EQ(lines_of({.train_iters = 200}, 1, 3), step_line(example_step(1), 200) + "\n" +
                                                      step_line(example_step(2), 200) + "\n" +
                                                      step_line(example_step(3), 200) + "\n");
}

TEST(ProgressLines, HonoursTheLogIntervalAndEndsWithTheLast) {
  EXPECT_EQ(lines_of({.train_iters = 12, .log_interval = 5}, 1, 12), step_line(example_step(5), 12) + "\n" +
                                                                         step_line(example_step(10), 12) + "\n" +
                                                                         step_line(example_step(12), 12) + "\n");
  EXPECT_EQ(lines_of({.train_iters = 12, .resumed_iteration = 6, .log_interval = 5}, 7, 9), "");
}

TEST(ProgressLines, ADumbTerminalGetsLines) {
  const Terminal terminal(100);
  if (terminal.file() == nullptr) GTEST_SKIP() << "this system has no pseudo-terminals";
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(Progress({.train_iters = 10, .terminal = terminal.file()}).draws_bar());
  EXPECT_EQ(terminal.drain(), "");
}

TEST(ProgressBar, RedrawsAtMostTenTimesASecond) {
  Screen screen;
  Watch watch;
  const ProgressOptions options{.train_iters = 1000, .terminal = screen.file(), .columns = 100, .now = watch.now()};
  Progress progress(options);
  ASSERT_TRUE(progress.draws_bar());
  int draws = 0;
  for (int i = 1; i <= 1000; ++i) {  // one second, a step a millisecond
    progress.step(example_step(i));
    draws += screen.drain().empty() ? 0 : 1;
    watch.time += milliseconds(1);
  }
  EXPECT_EQ(draws, 10);
  progress.finish();
  EXPECT_EQ(screen.drain(), "\r" + bar_line(example_step(1000), options, 1.0, 99) + "\x1b[K\n");
}

TEST(ProgressBar, FollowsTheWidthOfTheTerminal) {
  const Terminal terminal(40);
  if (terminal.file() == nullptr) GTEST_SKIP() << "this system has no pseudo-terminals";
  Watch watch;
  const ProgressOptions options{.train_iters = 200, .terminal = terminal.file(), .now = watch.now()};
  Progress progress(options);
  progress.step(example_step(50));
  EXPECT_EQ(terminal.drain(), "\r50/200 [=====>              ]  25%\x1b[K");
  terminal.resize(10);
  watch.time += milliseconds(100);
  progress.step(example_step(51));
  EXPECT_EQ(terminal.drain(), "\r51/200\x1b[K");
}

TEST(ProgressBar, StepsAsideForLogLines) {
  Screen screen;
  testing::internal::CaptureStderr();
  {
    Progress progress({.train_iters = 200, .terminal = screen.file(), .columns = 20});
    log::info("before the first step");
    EXPECT_EQ(screen.drain(), "");
    progress.step(example_step(50));
    EXPECT_EQ(screen.drain(), "\r50/200\x1b[K");
    log::info("a line");
    EXPECT_EQ(screen.drain(), "\r\x1b[K\r50/200\x1b[K");
    progress.validation({.iteration = 50, .validation_loss = 1.0, .validation_tokens = 1});
    EXPECT_EQ(screen.drain(), "\r\x1b[K\r50/200\x1b[K");
    progress.finish();
    EXPECT_EQ(screen.drain(), "\r50/200\x1b[K\n");
    log::info("after the end");
    EXPECT_EQ(screen.drain(), "");
  }
  log::info("after the bar");
  EXPECT_EQ(screen.drain(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "before the first step\na line\niteration 50/200 | validation loss 1.0000 | perplexity 2.72 | 1 tokens\n"
            "after the end\nafter the bar\n");
}

class ProgressLog : public InFolder {};

TEST_F(ProgressLog, HasLinesWhileABarIsDrawn) {
  const auto path = folder_ / "run.log";
  Screen screen;
  testing::internal::CaptureStderr();
  log::add_file(path.string());
  {
    Progress progress({.train_iters = 5, .log_interval = 2, .terminal = screen.file(), .columns = 20});
    for (int i = 1; i <= 5; ++i) progress.step(example_step(i));
  }
  log::add_file("/dev/null");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  const std::string text = read_text(path);
  for (int i = 1; i <= 5; ++i) {
    EXPECT_EQ(text.find(step_line(example_step(i), 5)) != std::string::npos, i != 1 && i != 3) << i << "\n" << text;
  }
}

TEST(ProgressBar, EndsItsLineWhenARunIsCutOff) {
  Screen screen;
  { Progress({.train_iters = 200, .terminal = screen.file(), .columns = 20}).step(example_step(50)); }
  EXPECT_TRUE(screen.drain().ends_with("50/200\x1b[K\n"));
}

}  // namespace
}  // namespace primus::monitor
