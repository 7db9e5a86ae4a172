#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "../support/file_size_limit.h"
#include "monitor/metrics.h"

namespace primus::monitor {

/// A fresh folder for each test.
class InFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::path(testing::TempDir()) / "primus_monitor_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
  }

  std::filesystem::path folder_;
};

inline StepMetrics example_step(std::int64_t iteration) {
  return {.iteration = iteration,
          .loss = 1.2345,
          .grad_norm = 0.98,
          .learning_rate = 1e-4,
          .tokens = 2048,
          .trained_tokens = 512,
          .elapsed_ms = 123.4,
          .tokens_per_second_per_gpu = 12345.0,
          .model_tflops_per_gpu = 1.23,
          .memory_gib = 1.2,
          .skipped = 0};
}

}  // namespace primus::monitor
