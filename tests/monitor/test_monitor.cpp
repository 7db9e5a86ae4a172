#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "base/file.h"
#include "monitor/monitor.h"
#include "support.h"

namespace primus::monitor {
namespace {

using MonitorTest = InFolder;

TEST_F(MonitorTest, TellsEveryoneEverything) {
  testing::internal::CaptureStderr();
  const ValidationMetrics validation{.iteration = 2, .validation_loss = 1.0, .validation_tokens = 7};
  {
    Monitor monitor({.run_directory = folder_ / "run", .train_iters = 2, .log_interval = 2});
    monitor.step(example_step(1));
    monitor.step(example_step(2));
    monitor.validation(validation);
    monitor.finish();
  }
  // the log line comes every second step, the files hold every one
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            step_line(example_step(2), 2) + "\n" + validation_line(validation, 2) + "\n");
  EXPECT_EQ(read_text(folder_ / "run" / "metrics.jsonl"), MetricsFile::row(example_step(1)) + "\n" +
                                                              MetricsFile::row(example_step(2)) + "\n" +
                                                              MetricsFile::row(validation) + "\n");
  const auto events = files_in(folder_ / "run" / "tensorboard");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_NE(read_text(events[0]).find("validation/loss"), std::string::npos);
}

TEST_F(MonitorTest, ResumesBothFiles) {
  testing::internal::CaptureStderr();
  const MonitorOptions fresh{.run_directory = folder_, .train_iters = 3};
  MonitorOptions resumed = fresh;
  resumed.resumed_iteration = 1;
  {
    Monitor monitor(fresh);
    monitor.step(example_step(1));
    monitor.step(example_step(2));
  }
  {
    Monitor monitor(resumed);
    monitor.step(example_step(2));
  }
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(read_text(folder_ / "metrics.jsonl"),
            MetricsFile::row(example_step(1)) + "\n" + MetricsFile::row(example_step(2)) + "\n");
  EXPECT_EQ(files_in(folder_ / "tensorboard").size(), 2U);
}

TEST_F(MonitorTest, SaysWhichDirectoryCannotBeMade) {
  write_text(folder_ / "file", "");
  try {
    Monitor monitor({.run_directory = folder_ / "file" / "run"});
    FAIL() << "a run under a file was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
    EXPECT_EQ(std::string(error.what()),
              (folder_ / "file" / "run").string() + ": cannot create the directory: Not a directory");
  }
}

}  // namespace
}  // namespace primus::monitor
