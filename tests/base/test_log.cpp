#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <regex>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace primus {
namespace {

namespace fs = std::filesystem;

class Log : public testing::Test {
 protected:
  void SetUp() override { log::set_level(log::Level::kInfo); }
  void TearDown() override {
    log::set_terminal_hooks(nullptr, nullptr);
    log::set_level(log::Level::kInfo);
    log::add_file("/dev/null");
  }
};

TEST_F(Log, WritesLinesWithTheirLevel) {
  testing::internal::CaptureStderr();
  log::debug("hidden");
  log::info("loss {:.2f}", 1.5);
  log::warning("careful");
  log::error("broken");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "loss 1.50\nwarning: careful\nerror: broken\n");
}

TEST_F(Log, LevelSelectsWhatIsWritten) {
  testing::internal::CaptureStderr();
  log::set_level(log::Level::kDebug);
  log::debug("shown");
  log::set_level(log::Level::kError);
  log::warning("hidden");
  log::error("shown too");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "debug: shown\nerror: shown too\n");
}

TEST_F(Log, BracesInALineAreNoFormat) {
  testing::internal::CaptureStderr();
  log::write(log::Level::kInfo, "a chat template: {{ messages }}");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "a chat template: {{ messages }}\n");
}

TEST_F(Log, AppendsToTheFileWithTheTime) {
  const fs::path path = fs::path(testing::TempDir()) / "primus_test_log.txt";
  fs::remove(path);
  write_text(path, "earlier\n");
  log::add_file(path);
  testing::internal::CaptureStderr();
  log::warning("once");
  testing::internal::GetCapturedStderr();
  const std::string text = read_text(path);
  EXPECT_TRUE(std::regex_match(text, std::regex("earlier\n\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d warning: once\n")))
      << text;
  fs::remove(path);
}

TEST_F(Log, SaysWhichFileCannotBeOpened) {
  try {
    log::add_file("/dev/null/run.log");
    FAIL() << "a path below a device was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
    EXPECT_EQ(std::string(error.what()), "/dev/null/run.log: cannot open the log file: Not a directory");
  }
}

TEST_F(Log, SurvivesAFullDisk) {
  log::add_file("/dev/full");
  const int kept = ::dup(STDERR_FILENO);
  const int full = ::open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  ::dup2(full, STDERR_FILENO);
  EXPECT_NO_THROW(log::info("lost"));
  EXPECT_NO_THROW(log::info("lost again"));
  ::dup2(kept, STDERR_FILENO);
  ::close(full);
  ::close(kept);
  testing::internal::CaptureStderr();
  log::info("back");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "back\n");
}

std::string hook_calls;

TEST_F(Log, CallsTheHooksAroundALineThatIsWritten) {
  hook_calls.clear();
  log::set_terminal_hooks([] { hook_calls += "before "; }, [] { hook_calls += "after "; });
  testing::internal::CaptureStderr();
  log::info("line");
  log::debug("not written");
  log::set_terminal_hooks(nullptr, nullptr);
  log::info("line");
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(hook_calls, "before after ");
}

}  // namespace
}  // namespace primus
