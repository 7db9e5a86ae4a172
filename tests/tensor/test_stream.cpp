#include <gtest/gtest.h>

#include <array>
#include <utility>

#include "fake_backend.h"
#include "tensor/arena.h"
#include "tensor/pinned.h"
#include "tensor/stream.h"

namespace primus::test {
namespace {

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    register_backend(fake_backend());
    fake().calls.clear();
  }
};

TEST_F(StreamTest, CreatesAndDestroysOnce) {
  {
    Stream stream(Device{});
    Stream moved = std::move(stream);
    moved.synchronize();
  }
  EXPECT_EQ(fake().calls, (std::vector<std::string>{"create stream", "synchronize", "destroy stream"}));
}

TEST_F(StreamTest, CopiesThereAndBack) {
  Stream stream(Device{});
  Arena arena = Arena::allocate(Device{}, 4096);
  const Tensor first = arena.matrix(MemoryKind::kWorkspace, "first", DType::kF32, 2, 3);
  const Tensor second = arena.vector(MemoryKind::kWorkspace, "second", DType::kF32, 6);
  const std::array<float, 6> numbers = {1, 2, 3, 4, 5, 6};
  std::array<float, 6> back = {};
  stream.copy_to_device(first, numbers.data());
  stream.copy(second, first);
  stream.copy_to_host(back.data(), second);
  EXPECT_EQ(back, numbers);
  stream.fill_zero(second);
  stream.copy_to_host(back.data(), second);
  EXPECT_EQ(back, (std::array<float, 6>{}));
}

TEST_F(StreamTest, PinnedMemoryIsTakenAndGivenBackOnce) {
  {
    Stream stream(Device{});
    const PinnedMemory pinned(Device{}, 24);
    EXPECT_EQ(pinned.bytes(), 24U);
    Arena arena = Arena::allocate(Device{}, 4096);
    const Tensor first = arena.vector(MemoryKind::kWorkspace, "first", DType::kF32, 6);
    const Tensor second = arena.vector(MemoryKind::kWorkspace, "second", DType::kF32, 6);
    const std::array<float, 6> numbers = {1, 2, 3, 4, 5, 6};
    stream.copy_to_device(first, numbers.data());
    stream.copy_to_pinned(pinned.data(), first);
    stream.copy_from_pinned(second, pinned.data());
    std::array<float, 6> back = {};
    stream.copy_to_host(back.data(), second);
    EXPECT_EQ(back, numbers);
  }
  EXPECT_EQ(fake().calls, (std::vector<std::string>{"create stream", "pin 24", "unpin 24", "destroy stream"}));
}

TEST_F(StreamTest, CopiesOfPartsOfRowsAreBugs) {
  Stream stream(Device{});
  Arena arena = Arena::allocate(Device{}, 4096);
  const Tensor whole = arena.matrix(MemoryKind::kWorkspace, "whole", DType::kF32, 4, 8);
  const Tensor part = whole.columns(0, 3);
  std::array<float, 32> host = {};
  EXPECT_THROW(stream.copy_to_host(host.data(), part), BugError);
  EXPECT_THROW(stream.copy_to_device(part, host.data()), BugError);
  EXPECT_THROW(stream.copy_to_pinned(nullptr, part), BugError);
  EXPECT_THROW(stream.copy_from_pinned(part, nullptr), BugError);
  EXPECT_THROW(stream.fill_zero(part), BugError);
  EXPECT_THROW(stream.copy(whole, whole.slice(0, 2)), BugError);
}

TEST_F(StreamTest, EventsMeasureAndWait) {
  Stream stream(Device{});
  {
    Event begin{Device{}};
    Event end{Device{}};
    begin.record(stream);
    end.record(stream);
    end.record(stream);
    EXPECT_EQ(begin.seconds_until(end), 1.0);
    end.wait_on(stream);
    const Event moved = std::move(begin);
  }
  EXPECT_EQ(fake().calls, (std::vector<std::string>{"create stream", "create event", "create event", "wait",
                                                    "destroy event", "destroy event"}));
}

struct Recorder : StreamObserver {
  void begin(WorkKind, const char* name) override { seen.emplace_back(name); }
  void end() override { seen.emplace_back("end"); }
  std::vector<std::string> seen;
};

TEST_F(StreamTest, AnObserverSeesWhatIsPutOn) {
  Stream stream(Device{});
  { const Observed nobody(stream, WorkKind::kGemm, "unseen"); }
  Recorder recorder;
  stream.set_observer(&recorder);
  { const Observed somebody(stream, WorkKind::kGemm, "product"); }
  EXPECT_EQ(recorder.seen, (std::vector<std::string>{"product", "end"}));
}

TEST_F(StreamTest, AMissingGpuLibraryIsNamed) {
  try {
    Stream stream(Device{DeviceType::kHip, 0});
    GTEST_SKIP() << "this host has a ROCm back end";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
    EXPECT_NE(std::string(error.what()).find("libprimus_hip.so"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace primus::test
