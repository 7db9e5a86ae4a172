#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "data/packing.h"

namespace primus::data {
namespace {

std::vector<std::int64_t> random_lengths(std::size_t count, std::int64_t most, std::uint64_t seed) {
  const Philox random{seed, 1};
  std::vector<std::int64_t> lengths(count);
  for (std::size_t i = 0; i < count; ++i) {
    lengths[i] = static_cast<std::int64_t>(1 + random.below(i, static_cast<std::uint64_t>(most)));
  }
  return lengths;
}

/// Every row once, no pack over the capacity, no pack empty; returns the number of packs.
std::int64_t check(const Packs& packs, std::span<const std::int64_t> lengths, std::int64_t capacity) {
  std::vector<int> seen(lengths.size(), 0);
  for (std::int64_t pack = 0; pack < packs.count(); ++pack) {
    std::int64_t tokens = 0;
    EXPECT_FALSE(packs[pack].empty());
    EXPECT_TRUE(std::is_sorted(packs[pack].begin(), packs[pack].end()));
    for (const std::uint32_t row : packs[pack]) {
      ++seen[row];
      tokens += lengths[row];
    }
    EXPECT_LE(tokens, capacity);
    if (pack > 0) {
      EXPECT_LT(packs[pack - 1][0], packs[pack][0]) << "numbered by their lowest row";
    }
  }
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
  return packs.count();
}

TEST(Packing, IsFirstFitDecreasing) {
  // 7 opens a pack, 6 another, 5 another; 4 fits beside 6, 3 beside 7, 2 beside 5.
  const std::vector<std::int64_t> lengths = {2, 3, 4, 5, 6, 7};
  const Packs packs = pack_first_fit_decreasing(lengths, 10);
  ASSERT_EQ(check(packs, lengths, 10), 3);
  EXPECT_EQ(std::vector<std::uint32_t>(packs[0].begin(), packs[0].end()), (std::vector<std::uint32_t>{0, 3}));
  EXPECT_EQ(std::vector<std::uint32_t>(packs[1].begin(), packs[1].end()), (std::vector<std::uint32_t>{1, 5}));
  EXPECT_EQ(std::vector<std::uint32_t>(packs[2].begin(), packs[2].end()), (std::vector<std::uint32_t>{2, 4}));
}

TEST(Packing, EqualsAPlainFirstFitOnRandomSets) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const auto lengths = random_lengths(200, 50 + static_cast<std::int64_t>(seed), seed);
    const std::int64_t capacity = 100;
    std::vector<std::uint32_t> order(lengths.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return lengths[a] > lengths[b]; });
    std::vector<std::pair<std::int64_t, std::vector<std::uint32_t>>> plain;
    for (const std::uint32_t row : order) {
      auto pack =
          std::find_if(plain.begin(), plain.end(), [&](const auto& p) { return p.first + lengths[row] <= capacity; });
      if (pack == plain.end()) pack = plain.insert(plain.end(), {0, {}});
      pack->first += lengths[row];
      pack->second.push_back(row);
    }
    for (auto& [tokens, rows] : plain) std::sort(rows.begin(), rows.end());
    std::sort(plain.begin(), plain.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    const Packs packs = pack_first_fit_decreasing(lengths, capacity);
    ASSERT_EQ(check(packs, lengths, capacity), static_cast<std::int64_t>(plain.size()));
    for (std::int64_t pack = 0; pack < packs.count(); ++pack) {
      EXPECT_EQ(std::vector<std::uint32_t>(packs[pack].begin(), packs[pack].end()),
                plain[static_cast<std::size_t>(pack)].second);
    }
  }
}

TEST(Packing, StaysWithinTheBoundOfFirstFitDecreasing) {
  // Packs that are known to be full are broken into rows: the fewest packs are then known too.
  const std::int64_t capacity = 1000;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Philox random{seed, 2};
    std::uint64_t draw = 0;
    const std::int64_t fewest = 300;
    std::vector<std::int64_t> lengths;
    for (std::int64_t pack = 0; pack < fewest; ++pack) {
      std::int64_t left = capacity;
      while (left > 0) {
        const auto length = std::min<std::int64_t>(left, 1 + static_cast<std::int64_t>(random.below(draw++, 600)));
        lengths.push_back(length);
        left -= length;
      }
    }
    const std::int64_t count = check(pack_first_fit_decreasing(lengths, capacity, Philox{seed, 3}), lengths, capacity);
    EXPECT_LE(count, fewest * 11 / 9 + 1);
    EXPECT_GE(count, fewest);
  }
}

TEST(Packing, FillsShortRowsAlmostWholly) {
  const auto lengths = random_lengths(20000, 500, 9);
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  const std::int64_t count = check(pack_first_fit_decreasing(lengths, 2048), lengths, 2048);
  EXPECT_GT(static_cast<double>(total) / static_cast<double>(count * 2048), 0.99);
}

TEST(Packing, TiesAreDrawnFromTheSeed) {
  const std::vector<std::int64_t> lengths(100, 5);
  const auto rows = [&](std::uint64_t seed) { return pack_first_fit_decreasing(lengths, 20, Philox{seed, 0}).rows; };
  EXPECT_EQ(rows(1), rows(1));
  EXPECT_NE(rows(1), rows(2));
}

TEST(Packing, TakesNoRowsAndRowsThatFillAPack) {
  EXPECT_EQ(pack_first_fit_decreasing({}, 8).count(), 0);
  const std::vector<std::int64_t> lengths = {8, 8, 8};
  EXPECT_EQ(check(pack_first_fit_decreasing(lengths, 8), lengths, 8), 3);
}

TEST(Packing, PacksAMillionRowsInTwoSeconds) {
  const auto lengths = random_lengths(1'000'000, 2048, 4);
  const auto start = std::chrono::steady_clock::now();
  const Packs packs = pack_first_fit_decreasing(lengths, 2048, Philox{1, 1});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  RecordProperty("seconds", std::to_string(seconds));
  EXPECT_EQ(packs.rows.size(), lengths.size());
#ifdef NDEBUG
  EXPECT_LT(seconds, 2.0);
#endif
}

}  // namespace
}  // namespace primus::data
