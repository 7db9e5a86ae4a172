#include <gtest/gtest.h>

#include "ops/gpu/device_errors.h"

namespace primus::ops::gpu {
namespace {

/// One line that has all of `parts`, and the exit status that says the host lacks something.
void expect_sentence(const Error& error, std::initializer_list<const char*> parts) {
  const std::string text = error.what();
  EXPECT_EQ(error.code(), ExitCode::kHostLacks);
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
}

TEST(DeviceErrors, AMissingDriverIsNamed) {
  expect_sentence(no_usable_driver(0, 13000), {"no CUDA driver", "device: cpu"});
}

TEST(DeviceErrors, AnOldDriverIsToldBothVersions) {
  expect_sentence(no_usable_driver(12080, 13010), {"12.8", "13.1", "update the driver"});
}

TEST(DeviceErrors, AnOldGpuIsToldWhatTheBuildHas) {
  expect_sentence(no_kernels_for(1, "Tesla T4, 14.6 GiB, compute capability 7.5", "80, 90a-real"),
                  {"GPU 1", "Tesla T4", "compute capability 7.5", "this build has kernels for 80, 90a-real",
                   "CMAKE_CUDA_ARCHITECTURES", "device: cpu"});
}

TEST(DeviceErrors, AMissingGpuIsToldHowManyThereAre) { expect_sentence(no_such_gpu(8, 1), {"no GPU 8", "sees 1"}); }

}  // namespace
}  // namespace primus::ops::gpu
