#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "support.h"
#include "tensor/backend.h"
#include "tensor/pinned.h"
#include "tensor/replay.h"
#include "tests/devices.h"

/// What a GPU's library does besides operations; nothing runs where there is no GPU.
namespace primus::test {
namespace {

class GpuBackend : public testing::TestWithParam<Device> {
 protected:
  const Backend& library() { return backend(GetParam().type); }
};

std::string name_of_device(const testing::TestParamInfo<Device>& info) { return name_of(info.param.type); }

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuBackend);
INSTANTIATE_TEST_SUITE_P(Devices, GpuBackend, testing::ValuesIn(gpus()), name_of_device);

TEST_P(GpuBackend, DescribesTheDevice) {
  EXPECT_GE(library().device_count(), 1);
  EXPECT_NE(library().describe(0).find("GiB"), std::string::npos) << library().describe(0);
  EXPECT_LT(library().memory_free(0), library().memory_total(0));
}

TEST_P(GpuBackend, ItsErrorsAreOurs) {
  const std::size_t bytes = std::size_t{1} << 50;
  try {
    library().allocate(0, bytes);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
    EXPECT_NE(std::string(error.what()).find(std::to_string(bytes)), std::string::npos) << error.what();
  }
  EXPECT_THROW(Stream(Device{GetParam().type, 99}), Error);
  // a failed call leaves nothing behind that a later one would find
  Stream stream(GetParam());
  stream.synchronize();
}

TEST_P(GpuBackend, LogsToTheProgramsLog) {
  const std::string path = testing::TempDir() + "primus_gpu_log.txt";
  std::filesystem::remove(path);
  log::add_file(path);
  log::set_level(log::Level::kDebug);
  {
    Stream stream(GetParam());
    const Matrix x = random_matrix(1024, 1024, DType::kBF16, 1);
    const DeviceData x_data(stream, DType::kBF16, x), y(stream, DType::kBF16, filled(1024, 1024, 0.0));
    const Setting without_cache("PRIMUS_GEMM_CACHE", "");  // so that the product is timed, which is logged
    ops::linear_forward(stream, {.x = x_data, .weight = x_data, .y = y});
  }
  log::set_level(log::Level::kInfo);
  EXPECT_NE(read_text(path).find("TFLOP/s"), std::string::npos);
}

TEST_P(GpuBackend, CopiesOfEverySizeArriveAndHostMemoryMayBeReused) {
  Stream stream(GetParam());
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{255}, kStageBytes - 1, kStageBytes, kStageBytes + 1, 5 * kStageBytes + 3}) {
    Arena arena = Arena::allocate(GetParam(), 2 * bytes + 512);
    const auto size = static_cast<std::int64_t>(bytes);
    const Tensor first = arena.vector(MemoryKind::kWorkspace, "first", DType::kU8, size);
    const Tensor second = arena.vector(MemoryKind::kWorkspace, "second", DType::kU8, size);
    std::vector<std::uint8_t> host(bytes), found(bytes);
    for (std::size_t i = 0; i < bytes; ++i) host[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
    const std::vector<std::uint8_t> sent = host;
    stream.copy_to_device(first, host.data());
    std::fill(host.begin(), host.end(), std::uint8_t{0});
    stream.fill_zero(second);
    stream.copy(second, first);
    stream.copy_to_host(found.data(), second);
    EXPECT_EQ(found, sent) << bytes << " bytes";
  }
}

TEST_P(GpuBackend, StagedMemoryIsCopiedFromWhereItLies) {
  Stream stream(GetParam());
  constexpr std::size_t kBytes = kStageBytes / 2 + 100;
  constexpr int kPieces = 11;  // more than there are slots
  Arena arena = Arena::allocate(GetParam(), kPieces * (kBytes + 256));
  std::vector<Tensor> targets;
  for (int piece = 0; piece < kPieces; ++piece) {
    targets.push_back(arena.vector(MemoryKind::kWorkspace, "piece", DType::kU8, kBytes));
    std::byte* staged = stream.stage(kBytes);
    ASSERT_NE(staged, nullptr);
    std::memset(staged, piece + 1, kBytes);
    stream.copy_to_device(targets.back(), staged);
  }
  for (int piece = 0; piece < kPieces; ++piece) {
    std::vector<std::uint8_t> found(kBytes);
    stream.copy_to_host(found.data(), targets[static_cast<std::size_t>(piece)]);
    EXPECT_EQ(found, std::vector<std::uint8_t>(kBytes, static_cast<std::uint8_t>(piece + 1)));
  }
}

TEST_P(GpuBackend, StreamsWaitForEventsOfOthers) {
  Stream one(GetParam()), other(GetParam());
  const DeviceData source = DeviceData::bytes(one, 64 << 20), target = DeviceData::bytes(other, 64 << 20);
  std::vector<std::uint8_t> ones(64 << 20, 1), found(64 << 20);
  one.fill_zero(source);
  other.fill_zero(target);
  other.synchronize();
  one.copy_to_device(source, ones.data());
  Event copied(GetParam());
  copied.record(one);
  copied.wait_on(other);
  other.copy(target, source);
  other.copy_to_host(found.data(), target);
  EXPECT_EQ(found, ones);
}

TEST_P(GpuBackend, PinnedCopiesRunBehindEventsOfOtherStreams) {
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  Stream compute(GetParam()), copies(GetParam());
  const DeviceData source = DeviceData::bytes(compute, kBytes), target = DeviceData::bytes(compute, kBytes);
  const PinnedMemory pinned(GetParam(), kBytes);
  std::memset(pinned.data(), 0, kBytes);
  std::vector<std::uint8_t> sent(kBytes, 7), found(kBytes);
  compute.fill_zero(target);
  Event written(GetParam()), arrived(GetParam());
  compute.copy_to_device(source, sent.data());
  written.record(compute);
  written.wait_on(copies);
  copies.copy_to_pinned(pinned.data(), source);
  copies.copy_from_pinned(target, pinned.data());
  arrived.record(copies);
  arrived.wait_on(compute);
  compute.copy_to_host(found.data(), target);
  EXPECT_EQ(found, sent);
  EXPECT_EQ(std::memcmp(pinned.data(), sent.data(), kBytes), 0);
}

TEST_P(GpuBackend, TooMuchPinnedMemoryNamesTheBytes) {
  const std::size_t bytes = std::size_t{1} << 50;
  try {
    const PinnedMemory pinned(GetParam(), bytes);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
    EXPECT_NE(std::string(error.what()).find(std::to_string(bytes)), std::string::npos) << error.what();
  }
}

TEST_P(GpuBackend, RecordedWorkIsDoneEachTime) {
  Stream stream(GetParam());
  const Matrix ones = filled(16, 64, 1.0);
  const DeviceData x(stream, DType::kF32, ones), sum(stream, DType::kF32, filled(16, 64, 0.0));
  Replay replay;
  constexpr int kTimes = 7;
  for (int i = 0; i < kTimes; ++i) {
    replay.run(stream, {1}, [&] { ops::add(stream, {.x = sum, .delta = x, .sum = sum}); });
    stream.synchronize();
  }
  // under a tool the device is so slow that it is never kept waiting
  if (!wants_small_shapes()) {
    EXPECT_EQ(replay.recordings(), 1U);
  }
  EXPECT_EQ(sum.download().values, filled(16, 64, kTimes).values);
}

TEST_P(GpuBackend, CopiesOnAnotherStreamAreRecordedWhereTheyAreJoined) {
  Stream stream(GetParam()), copies(GetParam());
  const DeviceData one(stream, DType::kF32, filled(16, 64, 1.0)), sum(stream, DType::kF32, filled(16, 64, 0.0));
  const Tensor sums = sum;
  const PinnedMemory pinned(GetParam(), sums.bytes());
  Event ready(GetParam()), done(GetParam());
  Replay replay;
  constexpr int kTimes = 5;
  for (int i = 0; i < kTimes; ++i) {
    replay.run(stream, {1}, [&] {
      ops::add(stream, {.x = sum, .delta = one, .sum = sum});
      ready.record(stream);
      ready.wait_on(copies);
      copies.copy_to_pinned(pinned.data(), sum);
      done.record(copies);
      done.wait_on(stream);
    });
    stream.synchronize();
    float found = 0.0F;
    std::memcpy(&found, pinned.data(), sizeof(found));
    EXPECT_EQ(found, static_cast<float>(i + 1));
  }
  if (!wants_small_shapes()) {  // as above
    EXPECT_EQ(replay.recordings(), 1U);
  }
}

TEST_P(GpuBackend, WhatNeedsTheHostIsNotRecorded) {
  Stream stream(GetParam());
  const DeviceData x(stream, DType::kF32, filled(4, 4, 1.0));
  Replay replay;
  std::vector<float> host(16);
  for (int i = 0; i < 4; ++i) replay.run(stream, {1}, [&] { stream.copy_to_host(host.data(), x); });
  EXPECT_EQ(replay.recordings(), 0U);
  EXPECT_EQ(host, std::vector<float>(16, 1.0F));
  stream.synchronize();
}

/// Products large enough that algorithms are timed: what is added to must be added to once.
class LargeProduct : public GpuBackend {
 protected:
  static constexpr std::int64_t kM = 1000, kN = 1544, kK = 520;
  static constexpr DType kType = DType::kBF16;
  const Setting without_cache_{"PRIMUS_GEMM_CACHE", ""};

  /// before + product, the product a sum in f32 of `terms` (see test_linear.cpp). The result is rounded, and so may be
  /// the product before it is added (ops/linear.h).
  struct Sum {
    double before = 0.0, product = 0.0, magnitude = 0.0;
  };
  static void expect_sum(double found, const Sum& sum, std::int64_t terms, DType type) {
    const double value = sum.before + sum.product;
    const double rounded = std::fabs(value) + (sum.before == 0.0 ? 0.0 : std::fabs(sum.product));
    EXPECT_NEAR(found, value,
                static_cast<double>(terms + 2) * kF32 * sum.magnitude + 1.01 * unit_roundoff(type) * rounded);
  }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LargeProduct);
INSTANTIATE_TEST_SUITE_P(Devices, LargeProduct, testing::ValuesIn(gpus()), name_of_device);

TEST_P(LargeProduct, GradientsAreAddedOnceACall) {
  Stream stream(GetParam());
  for (const DType target : {DType::kF32, DType::kBF16}) {
    const Matrix dy = random_matrix(kM, kN, kType, 1), x = random_matrix(kM, kK, kType, 2),
                 before = random_matrix(kN, kK, target, 3);
    const DeviceData dy_data(stream, kType, dy), x_data(stream, kType, x), dw(stream, target, before);
    ops::linear_backward_weight(stream, {.dy = dy_data, .x = x_data, .d_weight = dw, .scale = 0.5F});
    const Matrix found = dw.download();
    for (std::int64_t row = 0; row < kN; row += 97) {
      for (std::int64_t column = 0; column < kK; column += 13) {
        Sum sum{.before = before(row, column), .magnitude = std::fabs(before(row, column))};
        for (std::int64_t i = 0; i < kM; ++i) {
          sum.product += 0.5 * dy(i, row) * x(i, column);
          sum.magnitude += std::fabs(dy(i, row) * x(i, column));
        }
        expect_sum(found(row, column), sum, kM, target);
      }
    }
  }
}

TEST_P(LargeProduct, ForwardOfAnyAlignment) {
  Stream stream(GetParam());
  for (const std::int64_t gap : {0, 1, 2, 8}) {
    const Matrix x = random_matrix(kM, kK, kType, 1), w = random_matrix(kN, kK, kType, 2);
    const DeviceData x_data(stream, kType, x, gap), w_data(stream, kType, w, gap),
        y(stream, DType::kF32, filled(kM, kN, -1.0), gap);
    ops::linear_forward(stream, {.x = x_data, .weight = w_data, .y = y});
    const Matrix found = y.download();
    for (std::int64_t row = 0; row < kM; row += 101) {
      for (std::int64_t column = 0; column < kN; column += 7) {
        Sum sum;
        for (std::int64_t k = 0; k < kK; ++k) {
          sum.product += x(row, k) * w(column, k);
          sum.magnitude += std::fabs(x(row, k) * w(column, k));
        }
        expect_sum(found(row, column), sum, kK, DType::kF32);
      }
    }
  }
}

TEST_P(LargeProduct, ForwardAddsOnceACall) {
  Stream stream(GetParam());
  const Matrix x = random_matrix(kM, kK, kType, 1), w = random_matrix(kN, kK, kType, 2),
               addend = random_matrix(kM, kN, kType, 3, 8.0);
  const DeviceData x_data(stream, kType, x), w_data(stream, kType, w), addend_data(stream, kType, addend),
      elsewhere(stream, kType, filled(kM, kN, -1.0), 8);
  for (const DeviceData* y : {&elsewhere, &addend_data}) {
    ops::linear_forward(stream, {.x = x_data, .weight = w_data, .addend = addend_data, .y = *y});
    const Matrix found = y->download();
    for (std::int64_t row = 0; row < kM; row += 101) {
      for (std::int64_t column = 0; column < kN; column += 7) {
        Sum sum{.before = addend(row, column), .magnitude = std::fabs(addend(row, column))};
        for (std::int64_t k = 0; k < kK; ++k) {
          sum.product += x(row, k) * w(column, k);
          sum.magnitude += std::fabs(x(row, k) * w(column, k));
        }
        expect_sum(found(row, column), sum, kK, kType);
      }
    }
  }
}

}  // namespace
}  // namespace primus::test
