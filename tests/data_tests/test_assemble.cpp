#include <gtest/gtest.h>

#include <numeric>

#include "data/assemble.h"
#include "make_set.h"

namespace primus::data {
namespace {

/// What assemble must give, token by token.
MicroBatch naive(const TokenSet& set, const std::vector<std::uint32_t>& rows) {
  MicroBatch batch;
  batch.cu_seqlens.push_back(0);
  for (const std::uint32_t row : rows) {
    for (std::int64_t t = 0; t < set.length(row); ++t) {
      if (t + 1 < set.length(row) && set.label(row, t + 1) != kNotTrained) {
        batch.trained_rows.push_back(static_cast<std::int32_t>(batch.ids.size()));
        batch.targets.push_back(set.label(row, t + 1));
      }
      batch.ids.push_back(set.ids(row)[static_cast<std::size_t>(t)]);
      batch.positions.push_back(static_cast<std::int32_t>(t));
    }
    batch.cu_seqlens.push_back(static_cast<std::int32_t>(batch.ids.size()));
    batch.max_seqlen = std::max(batch.max_seqlen, set.length(row));
  }
  batch.real_tokens = static_cast<std::int64_t>(batch.ids.size());
  while (batch.ids.size() % 64 != 0) {
    batch.ids.push_back(0);
    batch.positions.push_back(batch.positions.back() + 1);
    ++batch.cu_seqlens.back();
  }
  batch.max_seqlen = std::max<std::int64_t>(batch.max_seqlen, batch.positions.back() + 1);
  return batch;
}

void expect_equal(const MicroBatch& got, const MicroBatch& want) {
  EXPECT_EQ(got.ids, want.ids);
  EXPECT_EQ(got.positions, want.positions);
  EXPECT_EQ(got.cu_seqlens, want.cu_seqlens);
  EXPECT_EQ(got.trained_rows, want.trained_rows);
  EXPECT_EQ(got.targets, want.targets);
  EXPECT_EQ(got.real_tokens, want.real_tokens);
  EXPECT_EQ(got.max_seqlen, want.max_seqlen);
}

TEST(Assemble, LaysOutTwoDocumentsByHand) {
  TokenSetBuilder builder;
  builder.add({{5, 6, 7}, {5, kNotTrained, 7}}, {});
  builder.add({{8, 9}, {8, 42}}, {});
  const MicroBatch batch = assemble(builder.finish(), std::vector<std::uint32_t>{0, 1});
  EXPECT_EQ(batch.trained_rows, (std::vector<std::int32_t>{1, 3}));
  EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{7, 42})) << "the 8 would be predicted from another document";
  EXPECT_EQ(batch.cu_seqlens, (std::vector<std::int32_t>{0, 3, 64}));
  EXPECT_EQ(batch.real_tokens, 5);
  EXPECT_EQ(batch.max_seqlen, 61) << "the last document with its filler";
  ASSERT_EQ(batch.ids.size(), 64U);
  EXPECT_EQ(batch.ids[4], 9);
  EXPECT_EQ(batch.ids[5], 0);
  EXPECT_EQ(batch.positions[3], 0);
  EXPECT_EQ(batch.positions[63], 60);
}

TEST(Assemble, NeedsNoFillerAtAMultiple) {
  const TokenSet set = testing::set_of_lengths({{40, 24}});
  const MicroBatch batch = assemble(set, std::vector<std::uint32_t>{1, 0});
  EXPECT_EQ(batch.cu_seqlens, (std::vector<std::int32_t>{0, 24, 64}));
  EXPECT_EQ(batch.real_tokens, 64);
  EXPECT_EQ(batch.max_seqlen, 40);
}

TEST(Assemble, EqualsTheNaiveLayoutOnRandomSets) {
  const Philox random{11, 0};
  std::uint64_t draw = 0;
  MicroBatch reused;
  for (std::uint64_t trial = 0; trial < 60; ++trial) {
    const TokenSet set = testing::random_set(20, trial, trial % 3 == 0 ? 5 : 300, trial % 2 == 1);
    std::vector<std::uint32_t> rows(1 + random.below(draw++, 9));
    for (auto& row : rows) row = static_cast<std::uint32_t>(random.below(draw++, 20));
    assemble(set, rows, reused);
    expect_equal(reused, naive(set, rows));
  }
}

TEST(Assemble, TargetsAreTheCountThatTheSetTells) {
  const TokenSet set = testing::random_set(30, 5);
  for (std::uint32_t row = 0; row < 30; ++row) {
    const MicroBatch batch = assemble(set, std::vector<std::uint32_t>{row});
    EXPECT_EQ(static_cast<std::int64_t>(batch.targets.size()), set.trained_tokens(row));
  }
}

}  // namespace
}  // namespace primus::data
