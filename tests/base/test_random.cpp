#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace primus {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Known answers of philox4x32-10 from the authors' test vectors (Random123, kat_vectors): counter words 0 and 1 are our
// block, 2 and 3 our stream, the key is our seed, low words first.
TEST(Philox, GivesThePublishedNumbers) {
  EXPECT_EQ((Philox{.seed = 0, .stream = 0}.block(0)), (Words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  EXPECT_EQ((Philox{.seed = ~0ULL, .stream = ~0ULL}.block(~0ULL)),
            (Words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}));
  EXPECT_EQ((Philox{.seed = 0x299f31d0a4093822ULL, .stream = 0x0370734413198a2eULL}.block(0x85a308d3243f6a88ULL)),
            (Words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}));
}

TEST(Philox, WordIsTheElementOfItsBlock) {
  const Philox random{.seed = 5678, .stream = 3};
  for (std::uint64_t i = 0; i < 64; ++i) EXPECT_EQ(random.word(i), random.block(i / 4)[i % 4]);
}

TEST(Philox, UniformStaysInRangeWithTheRightMoments) {
  const Philox random{.seed = 1, .stream = 2};
  constexpr int kCount = 1 << 18;
  double sum = 0.0, squares = 0.0;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double value = random.uniform(i);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }
  // mean 1/2 with standard error sqrt(1/12/n) = 5.6e-4, second moment 1/3 with sqrt(4/45/n) = 5.8e-4: five of each
  EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kCount));
}

TEST(Philox, NormalHasTheMomentsOfANormal) {
  const Philox random{.seed = 7, .stream = 0};
  constexpr int kCount = 1 << 18;
  double m1 = 0.0, m2 = 0.0, m3 = 0.0, m4 = 0.0, neighbours = 0.0;
  double previous = 0.0;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double x = random.normal(i);
    ASSERT_TRUE(std::isfinite(x));
    m1 += x;
    m2 += x * x;
    m3 += x * x * x;
    m4 += x * x * x * x;
    neighbours += x * previous;
    previous = x;
  }
  // the variance of the k-th sample moment is (E x^2k - (E x^k)^2) / n: 1, 2, 15, 96 over n; five standard errors
  const auto bound = [](double variance) { return 5 * std::sqrt(variance / kCount); };
  EXPECT_NEAR(m1 / kCount, 0.0, bound(1));
  EXPECT_NEAR(m2 / kCount, 1.0, bound(2));
  EXPECT_NEAR(m3 / kCount, 0.0, bound(15));
  EXPECT_NEAR(m4 / kCount, 3.0, bound(96));
  EXPECT_NEAR(neighbours / kCount, 0.0, bound(1));
}

TEST(Philox, BelowReachesEveryValueAndNoOther) {
  const Philox random{.seed = 9};
  constexpr std::uint64_t kBound = 7;
  constexpr int kCount = 70'000;
  std::array<int, kBound> counts{};
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::uint64_t value = random.below(i, kBound);
    ASSERT_LT(value, kBound);
    ++counts[value];
  }
  // binomial with n p = 10,000: standard deviation 93
  for (const int count : counts) EXPECT_NEAR(count, static_cast<double>(kCount) / kBound, 5 * 93);
  EXPECT_EQ(random.below(0, 1), 0U);
}

TEST(Philox, StreamsAndSeedsDiffer) {
  EXPECT_NE((Philox{.seed = 1, .stream = 1}.block(0)), (Philox{.seed = 1, .stream = 2}.block(0)));
  EXPECT_NE((Philox{.seed = 1, .stream = 1}.block(0)), (Philox{.seed = 2, .stream = 1}.block(0)));
  EXPECT_NE((Philox{.seed = 1}.block(0)), (Philox{.seed = 1ULL << 32}.block(0)));
}

TEST(Permutation, HoldsEveryNumberOnce) {
  for (const std::uint32_t count : {0U, 1U, 2U, 3U, 1000U}) {
    std::vector<std::uint32_t> order = permutation(count, Philox{.seed = 11, .stream = count});
    ASSERT_EQ(order.size(), count);
    std::ranges::sort(order);
    for (std::uint32_t i = 0; i < count; ++i) ASSERT_EQ(order[i], i);
  }
}

TEST(Permutation, IsAFunctionOfSeedAndStream) {
  const auto order = permutation(100, Philox{.seed = 5678, .stream = 1});
  EXPECT_EQ(order, permutation(100, Philox{.seed = 5678, .stream = 1}));
  EXPECT_NE(order, permutation(100, Philox{.seed = 5678, .stream = 2}));
  EXPECT_NE(order, permutation(100, Philox{.seed = 5679, .stream = 1}));
}

TEST(Permutation, PutsEveryNumberEverywhereEquallyOften) {
  constexpr std::uint32_t kSize = 5;
  constexpr int kRounds = 20'000;
  std::array<std::array<int, kSize>, kSize> counts{};
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const auto order = permutation(kSize, Philox{.seed = 3, .stream = round});
    for (std::uint32_t place = 0; place < kSize; ++place) ++counts[place][order[place]];
  }
  // binomial with n p = 4,000, p = 1/5: standard deviation 57
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, static_cast<double>(kRounds) / kSize, 5 * 57);
  }
}

}  // namespace
}  // namespace primus
