#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "tensor/float16.h"
#include "tensor/tensor.h"

namespace primus::test {
namespace {

TEST(Tensor, DefaultIsEmpty) {
  const Tensor none;
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(static_cast<bool>(none));
  EXPECT_EQ(none.numel(), 0);
  EXPECT_EQ(none.bytes(), 0U);
  EXPECT_EQ(none.describe(), "empty");
}

TEST(Tensor, ViewsAddressTheSameMemory) {
  std::array<float, 24> data{};
  const Tensor whole(data.data(), DType::kF32, Device{}, 4, 6, 6);
  EXPECT_TRUE(whole.is_contiguous());
  EXPECT_EQ(whole.describe(), "f32 (4, 6)");
  const Tensor rows = whole.slice(1, 3);
  EXPECT_EQ(rows.as<float>(), data.data() + 6);
  EXPECT_EQ(rows.rows(), 2);
  EXPECT_TRUE(rows.is_contiguous());
  const Tensor block = rows.columns(2, 5);
  EXPECT_EQ(block.as<float>(), data.data() + 8);
  EXPECT_EQ(block.columns(), 3);
  EXPECT_EQ(block.row_stride(), 6);
  EXPECT_FALSE(block.is_contiguous());
  EXPECT_TRUE(block.slice(0, 1).is_contiguous()) << "one row is";
  EXPECT_EQ(block.numel(), 6);
  EXPECT_EQ(whole.as_vector().slice(20, 24).as<float>(), data.data() + 20);
  EXPECT_EQ(whole.as_matrix(3, 8).slice(2, 3).as<float>(), data.data() + 16);
}

TEST(Tensor, ViewsOfMeasuredMemoryHaveAddressesNearNull) {
  const Tensor whole(nullptr, DType::kBF16, Device{}, 4, 6, 6);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(whole.slice(1, 2).columns(1, 2).data()), 14U);
}

TEST(Tensor, WrongUseIsABug) {
  std::array<float, 24> data{};
  const Tensor whole(data.data(), DType::kF32, Device{}, 4, 6, 6);
  EXPECT_THROW(whole.as<BFloat16>(), BugError);
  EXPECT_THROW(whole.slice(3, 5), BugError);
  EXPECT_THROW(whole.slice(2, 1), BugError);
  EXPECT_THROW(whole.columns(0, 7), BugError);
  EXPECT_THROW(whole.columns(0, 3).as_vector(), BugError);
  EXPECT_THROW(whole.as_matrix(5, 5), BugError);
  EXPECT_THROW(Tensor(data.data(), DType::kF32, Device{}, 4, 6, 5), BugError);
  EXPECT_THROW(Tensor().slice(0, 0), BugError);
}

TEST(Float16, BFloat16RoundsToNearestEven) {
  EXPECT_EQ(BFloat16(1.0F).bits, 0x3F80);
  EXPECT_EQ(BFloat16(1.0F + 0x1p-8F).bits, 0x3F80) << "a tie goes to the even neighbour below";
  EXPECT_EQ(BFloat16(1.0F + 0x1.8p-7F).bits, 0x3F82) << "a tie goes to the even neighbour above";
  EXPECT_EQ(BFloat16(1.0F + 0x1.1p-8F).bits, 0x3F81);
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::max()).bits, 0x7F80) << "beyond the largest is infinity";
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(static_cast<float>(BFloat16(-0.0F)), 0.0F);
}

TEST(Float16, EveryHalfSurvivesAndTiesGoToEven) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    Float16 half;
    half.bits = static_cast<std::uint16_t>(bits);
    const auto number = static_cast<float>(half);
    if (std::isnan(number)) continue;
    EXPECT_EQ(Float16(number).bits, bits);
  }
  EXPECT_EQ(Float16(1.0F + 0x1p-11F).bits, Float16(1.0F).bits);
  EXPECT_EQ(Float16(65519.0F).bits, 0x7BFF);
  EXPECT_EQ(Float16(65520.0F).bits, 0x7C00);
  EXPECT_EQ(Float16(0x1p-25F).bits, 0) << "a tie with zero";
  EXPECT_EQ(Float16(0x1.8p-25F).bits, 1);
}

}  // namespace
}  // namespace primus::test
