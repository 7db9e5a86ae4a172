#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace primus {
namespace {

std::string message_of_bug(const auto& run) {
  try {
    run();
  } catch (const BugError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Error, CarriesMessageAndExitCode) {
  const Error input = bad_input("{}:{}: key '{}' is unknown", "run.yaml", 12, "lr");
  EXPECT_STREQ(input.what(), "run.yaml:12: key 'lr' is unknown");
  EXPECT_EQ(input.code(), ExitCode::kBadInput);
  EXPECT_EQ(host_lacks("no device").code(), ExitCode::kHostLacks);
  EXPECT_EQ(run_failed("no progress").code(), ExitCode::kRunFailed);
  EXPECT_EQ(Error("plain").code(), ExitCode::kBadInput);
}

TEST(Error, ExitCodesAreTheDocumentedNumbers) {
  EXPECT_EQ(static_cast<int>(ExitCode::kDone), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kHostLacks), 1);
  EXPECT_EQ(static_cast<int>(ExitCode::kBadInput), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kRunFailed), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::kInterrupted), 130);
  EXPECT_EQ(static_cast<int>(ExitCode::kTerminated), 143);
}

TEST(Check, PassesSilently) { EXPECT_NO_THROW(PRIMUS_CHECK(1 + 1 == 2)); }

TEST(Check, NamesPlaceExpressionAndValues) {
  const int rows = 3;
  const std::string name = "q_proj";
  const std::string message = message_of_bug([&] { PRIMUS_CHECK(rows == 4, rows, name); });
  EXPECT_NE(message.find("test_error.cpp:"), std::string::npos) << message;
  EXPECT_NE(message.find("check failed: rows == 4 with values 3, q_proj"), std::string::npos) << message;
}

TEST(Check, WorksWithoutValuesAndAsABranch) {
  const bool ok = false;
  const std::string message = message_of_bug([&] {
    if (!ok)
      PRIMUS_CHECK(ok);
    else
      FAIL();
  });
  EXPECT_TRUE(message.ends_with("check failed: ok")) << message;
}

TEST(Check, IsNoUserError) {
  // main prints the two differently: what a user can mend, and what to report
  EXPECT_THROW(PRIMUS_CHECK(false), std::logic_error);
  EXPECT_THROW(throw bad_input("x"), std::runtime_error);
}

}  // namespace
}  // namespace primus
