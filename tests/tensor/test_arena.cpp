#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "fake_backend.h"
#include "tensor/arena.h"

namespace primus::test {
namespace {

class ArenaTest : public testing::Test {
 protected:
  void SetUp() override { register_backend(fake_backend()); }
  void TearDown() override { EXPECT_TRUE(fake().allocated.empty()) << "memory was not given back"; }
};

/// What the construction code of a run does, in small.
std::vector<Tensor> build(Arena& arena) {
  std::vector<Tensor> made;
  made.push_back(arena.matrix(MemoryKind::kWeights, "w", DType::kBF16, 3, 5));
  made.push_back(arena.vector(MemoryKind::kGradients, "g", DType::kF32, 1000));
  const std::size_t mark = arena.mark();
  made.push_back(arena.matrix(MemoryKind::kActivations, "a", DType::kF32, 64, 64));
  arena.rewind(mark);
  made.push_back(arena.vector(MemoryKind::kWorkspace, "x", DType::kU8, 10));
  return made;
}

TEST_F(ArenaTest, MeasuringTakesWhatRealTakes) {
  Arena measured = Arena::measuring(Device{});
  const std::vector<Tensor> counted = build(measured);
  EXPECT_TRUE(measured.is_measuring());
  EXPECT_TRUE(fake().allocated.empty()) << "measuring allocates nothing";
  Arena real = Arena::allocate(Device{}, measured.peak());
  const std::vector<Tensor> taken = build(real);
  EXPECT_FALSE(real.is_measuring());
  EXPECT_EQ(real.peak(), measured.peak());
  EXPECT_EQ(real.peak_by_kind(), measured.peak_by_kind());
  ASSERT_EQ(real.entries().size(), measured.entries().size());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(real.entries()[i].name, measured.entries()[i].name);
    EXPECT_EQ(real.entries()[i].bytes, measured.entries()[i].bytes);
    EXPECT_EQ(taken[i].describe(), counted[i].describe());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(taken[i].data()) % 256, 0U);
    // equal distances from the first: the same layout
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(taken[i].data()) - reinterpret_cast<std::uintptr_t>(taken[0].data()),
              reinterpret_cast<std::uintptr_t>(counted[i].data()));
  }
}

TEST_F(ArenaTest, CountsWholeAlignedBlocks) {
  Arena arena = Arena::measuring(Device{});
  arena.vector(MemoryKind::kWeights, "one byte", DType::kU8, 1);
  EXPECT_EQ(arena.peak(), 256U);
  arena.vector(MemoryKind::kWeights, "nothing", DType::kF32, 0);
  EXPECT_EQ(arena.peak(), 256U);
  arena.vector(MemoryKind::kWeights, "257 bytes", DType::kU8, 257);
  EXPECT_EQ(arena.peak(), 768U);
}

TEST_F(ArenaTest, RewindGivesTheSameMemoryAgain) {
  Arena arena = Arena::allocate(Device{}, 4096);
  arena.vector(MemoryKind::kWeights, "kept", DType::kF32, 64);
  const std::size_t mark = arena.mark();
  const Tensor first = arena.vector(MemoryKind::kActivations, "first", DType::kF32, 100);
  arena.rewind(mark);
  const Tensor second = arena.vector(MemoryKind::kWorkspace, "second", DType::kF32, 50);
  EXPECT_EQ(first.data(), second.data());
  EXPECT_EQ(arena.entries().size(), 3U);
}

TEST_F(ArenaTest, PeakByKindIsThatOfTheHighestMark) {
  Arena arena = Arena::measuring(Device{});
  arena.vector(MemoryKind::kWeights, "w", DType::kU8, 1024);
  const std::size_t mark = arena.mark();
  arena.vector(MemoryKind::kActivations, "a", DType::kU8, 512);
  arena.vector(MemoryKind::kActivations, "b", DType::kU8, 512);
  arena.rewind(mark);
  arena.vector(MemoryKind::kWorkspace, "lower", DType::kU8, 256);
  EXPECT_EQ(arena.peak(), 2048U);
  EXPECT_EQ(arena.peak_by_kind()[MemoryKind::kWeights], 1024U);
  EXPECT_EQ(arena.peak_by_kind()[MemoryKind::kActivations], 1024U);
  EXPECT_EQ(arena.peak_by_kind()[MemoryKind::kWorkspace], 0U);
  arena.rewind(mark);
  arena.vector(MemoryKind::kLossHead, "higher", DType::kU8, 4096);
  EXPECT_EQ(arena.peak(), 5120U);
  EXPECT_EQ(arena.peak_by_kind()[MemoryKind::kActivations], 0U);
  EXPECT_EQ(arena.peak_by_kind()[MemoryKind::kLossHead], 4096U);
}

TEST_F(ArenaTest, MoreThanItHasIsABug) {
  Arena arena = Arena::allocate(Device{}, 1024);
  EXPECT_THROW(arena.vector(MemoryKind::kWeights, "too large", DType::kF32, 1000), BugError);
  EXPECT_THROW(arena.rewind(1), BugError);
  EXPECT_THROW(arena.vector(MemoryKind::kWeights, "negative", DType::kF32, -1), BugError);
}

TEST_F(ArenaTest, LackOfMemoryIsTheHosts) {
  fake().limit = 1000;
  try {
    Arena::allocate(Device{}, 4096);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
  }
  fake().limit = std::size_t{1} << 30;
}

TEST_F(ArenaTest, MovesWithoutGivingBackTwice) {
  Arena arena = Arena::allocate(Device{}, 1024);
  arena.vector(MemoryKind::kWeights, "w", DType::kF32, 10);
  const Arena moved = std::move(arena);
  EXPECT_EQ(fake().allocated.size(), 1U);
  EXPECT_EQ(moved.peak(), 256U);
}

}  // namespace
}  // namespace primus::test
