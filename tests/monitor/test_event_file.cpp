#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "monitor/event_file.h"
#include "support.h"

namespace primus::monitor {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::uint32_t read_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << 8 * i;
  return value;
}

std::uint32_t unmasked(std::uint32_t crc) { return std::rotl(crc - 0xA282EAD8U, 15); }

/// The payloads of a whole file; fails where a length or a checksum is wrong.
std::vector<std::string> payloads(std::string_view file) {
  std::vector<std::string> found;
  while (!file.empty()) {
    if (file.size() < 12 || unmasked(read_u32(file.substr(8))) != crc32c(file.substr(0, 8))) {
      ADD_FAILURE() << "broken length at record " << found.size();
      break;
    }
    const std::size_t length = read_u32(file);
    if (file.size() < length + 16 || unmasked(read_u32(file.substr(12 + length))) != crc32c(file.substr(12, length))) {
      ADD_FAILURE() << "broken bytes at record " << found.size();
      break;
    }
    found.emplace_back(file.substr(12, length));
    file.remove_prefix(length + 16);
  }
  return found;
}

TEST(Crc32c, GivesThePublishedNumbers) {
  // RFC 3720, B.4, and the check value of the CRC catalogue
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc32c(""), 0U);
}

// The bytes that the tensorboard package (2.21, event_pb2 and RecordWriter) makes of the same events.
TEST(EventBytes, EqualThoseOfTensorBoard) {
  const double time = 1700000000.25;
  EXPECT_EQ(hex(tfrecord(version_event(time))),
            "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9");
  EXPECT_EQ(hex(tfrecord(restart_event(time, 31))), "0f000000000000006d532b090900001040fc54d941101f3a02080195adeda2");
  EXPECT_EQ(hex(tfrecord(scalars_event(time, 300,
                                       std::array{Scalar{"train/loss", 1.25F}, Scalar{"train/learning_rate", 1e-4F}}))),
            "3d000000000000006049f1ec0900001040fc54d94110ac022a2f0a110a0a747261696e2f6c6f7373150000a03f0a1a0a1374"
            "7261696e2f6c6561726e696e675f726174651517b7d138c45457d5");
}

using EventFileTest = InFolder;

TEST_F(EventFileTest, IsNamedAndStartedAsTensorBoardExpects) {
  const EventFile file(folder_ / "tensorboard", 0);
  EXPECT_TRUE(std::regex_match(file.path().filename().string(), std::regex("events\\.out\\.tfevents\\.\\d{10}\\..+")))
      << file.path();
  const auto records = payloads(read_text(file.path()));
  ASSERT_EQ(records.size(), 1U);
  EXPECT_TRUE(records[0].ends_with("brain.Event:2"));
}

TEST_F(EventFileTest, HoldsARecordAStepAndAValidation) {
  EventFile file(folder_, 0);
  file.write(example_step(300));
  file.write(ValidationMetrics{.iteration = 300, .validation_loss = 1.25, .validation_tokens = 5});
  const auto records = payloads(read_text(file.path()));
  ASSERT_EQ(records.size(), 3U);
  for (const std::string tag :
       {"train/loss", "train/grad_norm", "train/learning_rate", "train/trained_tokens", "train/elapsed_ms",
        "train/tokens_per_second_per_gpu", "train/model_tflops_per_gpu", "train/memory_gib", "train/skipped"}) {
    EXPECT_NE(records[1].find(tag), std::string::npos) << tag;
  }
  // behind the 9 bytes of the time: step 300, then the summary
  EXPECT_EQ(hex(std::string_view(records[1]).substr(9, 4)), "10ac022a");
  EXPECT_TRUE(hex(records[2]).ends_with(hex("validation/loss") + "150000a03f"));
}

TEST_F(EventFileTest, AResumedRunTellsTensorBoardToForgetLaterSteps) {
  const EventFile file(folder_, 30);
  const auto records = payloads(read_text(file.path()));
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(hex(std::string_view(records[1]).substr(9)), "101f3a020801");  // step 31, SessionLog START
}

TEST_F(EventFileTest, FilesOfTheSameSecondAreTwo) {
  const EventFile first(folder_, 0);
  const EventFile second(folder_, 1);
  const EventFile third(folder_, 2);
  EXPECT_EQ(files_in(folder_).size(), 3U);
  EXPECT_EQ(payloads(read_text(first.path())).size(), 1U);
}

TEST_F(EventFileTest, TakesNumbersThatAreNotFinite) {
  EventFile file(folder_, 0);
  StepMetrics step = example_step(1);
  step.loss = std::numeric_limits<double>::quiet_NaN();
  step.grad_norm = 1e300;
  file.write(step);
  EXPECT_EQ(payloads(read_text(file.path())).size(), 2U);
}

TEST_F(EventFileTest, AFullDiskLosesNothingWhenSpaceComesBack) {
  EventFile file(folder_, 0);
  testing::internal::CaptureStderr();
  {
    const FileSizeLimit limit(500);
    for (int i = 1; i <= 5; ++i) EXPECT_NO_THROW(file.write(example_step(i)));
  }
  file.write(example_step(6));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("File too large"), std::string::npos);
  EXPECT_EQ(payloads(read_text(file.path())).size(), 7U);
}

TEST_F(EventFileTest, SaysWhatCannotBeMade) {
  write_text(folder_ / "file", "");
  EXPECT_THROW(EventFile(folder_ / "file", 0), Error);
  EXPECT_THROW(EventFile(folder_ / "file" / "tensorboard", 0), Error);
}

}  // namespace
}  // namespace primus::monitor
