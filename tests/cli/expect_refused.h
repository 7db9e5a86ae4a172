#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "run_primus.h"

namespace primus::cli_test {

/// The exit status, and a message that says all of `says` and is no crash.
inline void expect_refused(const Outcome& outcome, int status, const std::vector<std::string>& says) {
  EXPECT_EQ(outcome.status, status) << outcome.err;
  for (const std::string& text : says) {
    EXPECT_NE(outcome.err.find(text), std::string::npos) << text << "\nin: " << outcome.err;
  }
  EXPECT_EQ(outcome.err.find("bug in Primus"), std::string::npos) << outcome.err;
}

}  // namespace primus::cli_test
