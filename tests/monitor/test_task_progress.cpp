#include <gtest/gtest.h>

#include "base/log.h"
#include "monitor/task_progress.h"
#include "screen.h"

namespace primus::monitor {
namespace {

using std::chrono::milliseconds;

TEST(TaskLine, SaysHowFarAndHowFast) {
  EXPECT_EQ(task_line("tokenizing", 1'200'000, 4'200'000, 0.5, 100),
            "tokenizing [=====>              ]  28% | 1.2 of 4.2 MB | 2.4 MB/s | 0:01 left");
  EXPECT_EQ(task_line("tokenizing", 0, 4'200'000, 0.0, 100),
            "tokenizing [>                   ]   0% | 0.0 of 4.2 MB | 0.0 kB/s | ? left");
  EXPECT_EQ(task_line("tokenizing", 5'000'000'000, 5'000'000'000, 10, 100),
            "tokenizing [====================] 100% | 5.0 of 5.0 GB | 500.0 MB/s | 0:00 left");
  EXPECT_EQ(task_line("tokenizing", 1, 2, 1, 40), "tokenizing [==========>         ]  50%");
  EXPECT_EQ(task_line("tokenizing", 0, 0, 0, 12), "tokenizing");
}

TEST(TaskProgress, DrawsAtMostTenTimesASecondAndIsGoneAtTheEnd) {
  Screen screen;
  std::chrono::steady_clock::time_point now{};
  {
    TaskProgress progress(
        {.label = "tokenizing", .terminal = screen.file(), .columns = 60, .now = [&] { return now; }});
    progress.update(1000, 4000);
    EXPECT_EQ(screen.drain(), "\rtokenizing [=====>              ]  25% | 1.0 of 4.0 kB\x1b[K");
    now += milliseconds(99);
    progress.update(2000, 4000);
    EXPECT_EQ(screen.drain(), "");
    now += milliseconds(1);
    progress.update(3000, 4000);
    EXPECT_NE(screen.drain().find(" 75%"), std::string::npos);
    log::info("passes above");
    EXPECT_EQ(screen.drain().find("\r\x1b[K\rtokenizing"), 0U);
  }
  EXPECT_EQ(screen.drain(), "\r\x1b[K");
}

TEST(TaskProgress, SaysNothingElsewhereWhenTheWorkIsShort) {
  Screen screen;
  std::chrono::steady_clock::time_point now{};
  TaskProgress progress({.label = "tokenizing", .terminal = screen.file(), .now = [&] { return now; }});
  ::testing::internal::CaptureStderr();
  progress.update(1000, 4000);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  now += std::chrono::seconds(11);
  ::testing::internal::CaptureStderr();
  progress.update(2000, 4000);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tokenizing [==========>         ]  50% | 2.0 of 4.0 kB | 0.2 kB/s | 0:11 left\n");
  EXPECT_EQ(screen.drain(), "");
}

}  // namespace
}  // namespace primus::monitor
