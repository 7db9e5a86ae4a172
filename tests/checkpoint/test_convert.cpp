#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "checkpoint/transfer.h"
#include "support.h"

namespace primus::checkpoint {
namespace {

template <typename To, typename From>
bool convert(const std::vector<From>& in, std::vector<To>& out) {
  out.resize(in.size());
  return convert_elements(reinterpret_cast<const std::byte*>(in.data()), detail::DTypeOf<From>::value,
                          reinterpret_cast<std::byte*>(out.data()), detail::DTypeOf<To>::value,
                          static_cast<std::int64_t>(in.size()));
}

TEST(Convert, EveryBFloat16AndHalfSurvivesAWayThroughF32) {
  std::vector<BFloat16> brains(1 << 16);
  std::vector<Float16> halves(1 << 16);
  for (std::size_t i = 0; i < brains.size(); ++i) {
    brains[i].bits = static_cast<std::uint16_t>(i);
    halves[i].bits = static_cast<std::uint16_t>(i);
  }
  std::vector<float> wide;
  std::vector<BFloat16> brains_again;
  ASSERT_TRUE(convert(brains, wide));
  ASSERT_TRUE(convert(wide, brains_again));
  for (std::size_t i = 0; i < brains.size(); ++i) {
    if (!std::isnan(wide[i])) {
      EXPECT_EQ(brains[i].bits, brains_again[i].bits);
    }
  }
  std::vector<Float16> halves_again;
  ASSERT_TRUE(convert(halves, wide));
  ASSERT_TRUE(convert(wide, halves_again));
  for (std::size_t i = 0; i < halves.size(); ++i) {
    if (!std::isnan(wide[i])) {
      EXPECT_EQ(halves[i].bits, halves_again[i].bits);
    }
  }
}

TEST(Convert, ManyElementsOnSeveralThreadsAndAtOddAddresses) {
  const std::size_t count = 3'000'001;
  std::vector<std::byte> in(4 * count + 1), out(2 * count + 3);
  for (std::size_t i = 0; i < count; ++i) {
    const float value = std::sin(static_cast<float>(i)) * 100.0F;
    std::memcpy(in.data() + 1 + 4 * i, &value, 4);
  }
  ASSERT_TRUE(convert_elements(in.data() + 1, DType::kF32, out.data() + 3, DType::kBF16, count));
  for (std::size_t i = 0; i < count; ++i) {
    float value = 0;
    BFloat16 found;
    std::memcpy(&value, in.data() + 1 + 4 * i, 4);
    std::memcpy(&found, out.data() + 3 + 2 * i, 2);
    ASSERT_EQ(found.bits, BFloat16(value).bits) << i;
  }
}

TEST(Convert, SaysWhenAValueLeavesTheRangeOfHalf) {
  std::vector<Float16> halves;
  EXPECT_TRUE(convert(std::vector<float>{65504.0F, -65504.0F, std::numeric_limits<float>::infinity()}, halves));
  EXPECT_FALSE(convert(std::vector<float>{1.0F, 70000.0F}, halves));
  std::vector<BFloat16> brains;
  ASSERT_TRUE(convert(std::vector<float>{1e30F}, brains));
  EXPECT_FALSE(convert(brains, halves));
}

TEST(Transfer, RowsWithAStride) {
  TinyModel memory(model::load_model_config(reference("qwen2") / "hf"), {.compute = DType::kBF16, .lora_rank = 4});
  const Tensor& target = memory["model.layers.0.self_attn.k_proj.weight"].weight;
  ASSERT_FALSE(target.is_contiguous());
  const Tensor neighbour = memory["model.layers.0.self_attn.k_proj.lora_B.weight"].published;
  fill(neighbour, 1);
  const std::vector<float> before = values(neighbour);

  std::vector<float> numbers(static_cast<std::size_t>(target.numel()));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 251);
  Transfer transfer(memory.stream());
  ASSERT_TRUE(transfer.write(target, std::as_bytes(std::span(numbers)), DType::kF32));
  EXPECT_EQ(values(target), numbers);
  EXPECT_EQ(values(neighbour), before);

  std::vector<std::byte> read;
  transfer.read(target, DType::kF32,
                [&](std::span<const std::byte> bytes) { read.insert(read.end(), bytes.begin(), bytes.end()); });
  ASSERT_EQ(read.size(), 4 * numbers.size());
  EXPECT_EQ(std::memcmp(read.data(), numbers.data(), read.size()), 0);
}

}  // namespace
}  // namespace primus::checkpoint
