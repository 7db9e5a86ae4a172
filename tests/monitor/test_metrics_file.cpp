#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "monitor/metrics_file.h"
#include "support.h"

namespace primus::monitor {
namespace {

using Json = nlohmann::ordered_json;

class MetricsFileTest : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    path_ = folder_ / "metrics.jsonl";
  }

  std::vector<std::int64_t> iterations() const {
    std::vector<std::int64_t> found;
    std::ifstream file(path_);
    for (std::string line; std::getline(file, line);) found.push_back(Json::parse(line).at("iteration"));
    return found;
  }

  std::filesystem::path path_;
};

using Iterations = std::vector<std::int64_t>;

TEST_F(MetricsFileTest, RowsAreTheDocumentedOnes) {
  EXPECT_EQ(
      MetricsFile::row(example_step(7)),
      R"({"iteration":7,"loss":1.2345,"grad_norm":0.98,"learning_rate":0.0001,"tokens":2048,"trained_tokens":512,)"
      R"("elapsed_ms":123.4,"tokens_per_second_per_gpu":12345.0,"model_tflops_per_gpu":1.23,"memory_gib":1.2,)"
      R"("skipped":0})");
  EXPECT_EQ(MetricsFile::row(ValidationMetrics{.iteration = 30, .validation_loss = 2.5, .validation_tokens = 99}),
            R"({"iteration":30,"validation_loss":2.5,"validation_tokens":99})");
}

TEST_F(MetricsFileTest, NumbersReadBackExactly) {
  for (const double value : {0.1, 1.0 / 3, 1e-8, 5e-324, 1.7976931348623157e308, 123456789.125, 1e15, 1e16, 1e22,
                             -2.2250738585072014e-308, 0.0, 3.0}) {
    const Json row = Json::parse(MetricsFile::row({.iteration = 1, .validation_loss = value}));
    EXPECT_TRUE(row["validation_loss"].is_number_float()) << row;
    EXPECT_EQ(row["validation_loss"].get<double>(), value);
  }
}

TEST_F(MetricsFileTest, NotFiniteIsNull) {
  StepMetrics step = example_step(1);
  step.loss = std::numeric_limits<double>::quiet_NaN();
  step.grad_norm = std::numeric_limits<double>::infinity();
  step.learning_rate = -std::numeric_limits<double>::infinity();
  const Json row = Json::parse(MetricsFile::row(step));
  EXPECT_TRUE(row["loss"].is_null());
  EXPECT_TRUE(row["grad_norm"].is_null());
  EXPECT_TRUE(row["learning_rate"].is_null());
  EXPECT_EQ(row["tokens"], 2048);
}

TEST_F(MetricsFileTest, RowsStandInTheFileAtOnce) {
  MetricsFile file(path_, 0);
  EXPECT_EQ(read_text(path_), "");
  file.write(example_step(1));
  EXPECT_EQ(read_text(path_), MetricsFile::row(example_step(1)) + "\n");
  const ValidationMetrics validation{.iteration = 1, .validation_loss = 2.0, .validation_tokens = 10};
  file.write(validation);
  EXPECT_EQ(read_text(path_), MetricsFile::row(example_step(1)) + "\n" + MetricsFile::row(validation) + "\n");
}

TEST_F(MetricsFileTest, ResumeCutsLaterRows) {
  {
    MetricsFile file(path_, 0);
    for (int i = 1; i <= 12; ++i) file.write(example_step(i));
    file.write(ValidationMetrics{.iteration = 12});
  }
  MetricsFile file(path_, 10);
  EXPECT_EQ(iterations(), (Iterations{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  file.write(example_step(11));
  EXPECT_EQ(iterations(), (Iterations{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST_F(MetricsFileTest, ResumeKeepsTheValidationOfItsIteration) {
  {
    MetricsFile file(path_, 0);
    file.write(example_step(1));
    file.write(ValidationMetrics{.iteration = 1});
    file.write(example_step(2));
  }
  const std::string before = read_text(path_);
  const MetricsFile at_its_end(path_, 2);
  EXPECT_EQ(read_text(path_), before);
  const MetricsFile earlier(path_, 1);
  EXPECT_EQ(iterations(), (Iterations{1, 1}));
}

TEST_F(MetricsFileTest, ARunFromTheStartBeginsEmpty) {
  write_text(path_, MetricsFile::row(example_step(1)) + "\n");
  const MetricsFile file(path_, 0);
  EXPECT_EQ(read_text(path_), "");
}

TEST_F(MetricsFileTest, SurvivesATornLastLineWhereverItTore) {
  const std::string first = MetricsFile::row(example_step(1)) + "\n";
  const std::string second = MetricsFile::row(example_step(2)) + "\n";
  testing::internal::CaptureStderr();
  for (std::size_t length = 1; length < second.size(); ++length) {
    write_text(path_, first + second.substr(0, length));
    MetricsFile file(path_, 5);
    ASSERT_EQ(read_text(path_), first) << "torn after " << length << " bytes";
    file.write(example_step(6));
    ASSERT_EQ(iterations(), (Iterations{1, 6}));
  }
  EXPECT_NE(testing::internal::GetCapturedStderr().find("dropped 1 unfinished line\n"), std::string::npos);
}

TEST_F(MetricsFileTest, DropsWhatAPowerCutLeaves) {
  // blocks of zeros in place of rows, as journalling file systems leave them
  testing::internal::CaptureStderr();
  write_text(path_, MetricsFile::row(example_step(1)) + "\n" + std::string(100, '\0') + "\n" + "{\"iteration\":}\n" +
                        MetricsFile::row(example_step(3)) + "\n" + std::string(50, '\0'));
  const MetricsFile file(path_, 9);
  EXPECT_EQ(iterations(), (Iterations{1, 3}));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("dropped 3 unfinished lines\n"), std::string::npos);
}

TEST_F(MetricsFileTest, SaysWhatCannotBeOpened) {
  write_text(folder_ / "file", "");
  for (const std::filesystem::path& path : {folder_ / "file" / "metrics.jsonl", folder_ / "missing" / "m", folder_}) {
    try {
      MetricsFile file(path, 0);
      FAIL() << path << " was opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kHostLacks);
      EXPECT_TRUE(std::string(error.what()).starts_with(path.string() + ": cannot open for writing: ")) << error.what();
    }
  }
}

TEST_F(MetricsFileTest, AFullDiskIsSaidOnceAndTheRowsWait) {
  MetricsFile file(path_, 0);
  testing::internal::CaptureStderr();
  {
    const FileSizeLimit limit(300);  // the first row and a part of the second
    for (int i = 1; i <= 5; ++i) EXPECT_NO_THROW(file.write(example_step(i)));
  }
  EXPECT_EQ(read_text(path_).size(), 300U);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "error: " + path_.string() +
                ": cannot write: File too large; the run goes on, and its rows wait in memory until there is room\n");
  testing::internal::CaptureStderr();
  file.write(example_step(6));
  EXPECT_EQ(iterations(), (Iterations{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), path_.string() + ": writing again, nothing is missing\n");
}

TEST_F(MetricsFileTest, WhatNeverFitsIsCounted) {
  testing::internal::CaptureStderr();
  { MetricsFile("/dev/full", 0).write(ValidationMetrics{.iteration = 1}); }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("/dev/full: cannot write: No space left on device"), std::string::npos) << said;
  EXPECT_NE(said.find("/dev/full: the last 60 bytes could not be written"), std::string::npos) << said;
}

}  // namespace
}  // namespace primus::monitor
