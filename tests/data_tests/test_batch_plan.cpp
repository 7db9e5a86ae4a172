#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "data/batch_plan.h"
#include "data_folder.h"
#include "make_set.h"

namespace primus::data {
namespace {

using testing::message_of;
using Rows = std::vector<std::uint32_t>;

Rows sorted(Rows rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

TEST(BatchPlan, TakesRowsInFileOrderWithoutShuffle) {
  const BatchPlan plan(testing::random_set(5, 1), {.global_batch_size = 2, .shuffle = false});
  EXPECT_EQ(plan.global_rows(0), (Rows{0, 1}));
  EXPECT_EQ(plan.global_rows(1), (Rows{2, 3}));
  EXPECT_EQ(plan.global_rows(2), (Rows{4, 0})) << "wraps over epochs";
  EXPECT_EQ(plan.global_rows(3), (Rows{1, 2}));
  EXPECT_EQ(plan.units_per_epoch(), 5);
}

TEST(BatchPlan, EveryEpochIsAnotherPermutation) {
  const BatchPlan plan(testing::random_set(30, 1), {.global_batch_size = 30});
  const Rows first = plan.global_rows(0), second = plan.global_rows(1);
  EXPECT_NE(first, second);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  Rows all(30);
  for (std::uint32_t i = 0; i < 30; ++i) all[i] = i;
  EXPECT_EQ(sorted(first), all);
  EXPECT_EQ(sorted(second), all);
}

TEST(BatchPlan, AFreshPlanContinuesAtAnyStep) {
  const TokenSet set = testing::random_set(37, 2);
  for (const bool packed : {false, true}) {
    const BatchPlanSettings settings{
        .global_batch_size = 4, .micro_batch_size = 2, .seq_length = 256, .packed = packed};
    const BatchPlan plan(set, settings);
    std::vector<Rows> steps;
    for (std::int64_t step = 0; step < 60; ++step) steps.push_back(plan.global_rows(step));
    for (const std::int64_t step : {59, 0, 31, 9}) {
      const BatchPlan fresh(set, settings);
      EXPECT_EQ(fresh.global_rows(step), steps[static_cast<std::size_t>(step)]);
    }
    BatchPlanSettings other = settings;
    other.seed = 1;
    EXPECT_NE(BatchPlan(set, other).global_rows(0), steps[0]);
  }
}

TEST(BatchPlan, SplitsGiveTheSameRows) {
  const TokenSet set = testing::random_set(100, 3);
  for (const bool packed : {false, true}) {
    const auto plan_of = [&](std::int64_t micro, int ranks) {
      return BatchPlan(set, {.global_batch_size = 24,
                             .micro_batch_size = micro,
                             .seq_length = 512,
                             .packed = packed,
                             .data_parallel_size = ranks});
    };
    const BatchPlan whole = plan_of(24, 1);
    for (const auto& [micro, ranks] : std::map<std::int64_t, int>{{1, 1}, {2, 3}, {3, 2}, {4, 6}, {6, 1}, {12, 2}}) {
      const BatchPlan plan = plan_of(micro, ranks);
      EXPECT_EQ(plan.micro_batches(), 24 / micro / ranks);
      for (std::int64_t step = 0; step < 7; ++step) {
        Rows joined;
        std::int64_t trained = 0;
        for (std::int64_t m = 0; m < plan.micro_batches(); ++m) {
          for (int rank = 0; rank < ranks; ++rank) {
            const Rows rows = plan.rows(step, m, rank);
            joined.insert(joined.end(), rows.begin(), rows.end());
            for (const auto row : rows) trained += set.trained_tokens(row);
          }
        }
        EXPECT_EQ(joined, whole.global_rows(step));
        EXPECT_EQ(trained, plan.trained_tokens(step));
        EXPECT_EQ(plan.trained_tokens(step), whole.trained_tokens(step));
        EXPECT_EQ(plan.tokens(step), whole.tokens(step));
      }
    }
  }
}

TEST(BatchPlan, ARankTakesItsOwnRows) {
  const TokenSet set = testing::random_set(16, 3);
  const BatchPlan plan(set, {.global_batch_size = 8,
                             .micro_batch_size = 2,
                             .shuffle = false,
                             .data_parallel_rank = 1,
                             .data_parallel_size = 2});
  EXPECT_EQ(plan.rows(0, 0), (Rows{2, 3}));
  EXPECT_EQ(plan.rows(0, 1), (Rows{6, 7}));
  EXPECT_EQ(plan.rows(1, 0), (Rows{10, 11}));
}

TEST(BatchPlan, PacksNeverPassSeqLengthAndCoverTheSet) {
  const TokenSet set = testing::random_set(500, 4);
  const BatchPlan plan(set, {.global_batch_size = 1, .seq_length = 512, .packed = true});
  Rows seen;
  for (std::int64_t step = 0; step < plan.units_per_epoch(); ++step) {
    const Rows pack = plan.global_rows(step);
    EXPECT_LE(plan.tokens(step), 512);
    seen.insert(seen.end(), pack.begin(), pack.end());
  }
  EXPECT_EQ(seen.size(), 500U);
  const Rows in_order = sorted(seen);
  EXPECT_TRUE(std::adjacent_find(in_order.begin(), in_order.end()) == in_order.end());
  EXPECT_GT(plan.efficiency(), 0.97);
  EXPECT_LE(plan.efficiency(), 1.0);
}

TEST(BatchPlan, BoundsHoldForEveryMicroBatch) {
  const TokenSet set = testing::random_set(50, 6);
  for (const bool packed : {false, true}) {
    const BatchPlan plan(set, {.global_batch_size = 6, .micro_batch_size = 3, .seq_length = 300, .packed = packed});
    const MicroBatchBounds bounds = plan.bounds();
    MicroBatch batch;
    for (std::int64_t step = 0; step < 40; ++step) {
      for (std::int64_t m = 0; m < plan.micro_batches(); ++m) {
        plan.assemble(step, m, batch);
        EXPECT_LE(static_cast<std::int64_t>(batch.ids.size()), bounds.tokens);
        EXPECT_LE(static_cast<std::int64_t>(batch.cu_seqlens.size()) - 1, bounds.documents);
        EXPECT_LE(static_cast<std::int64_t>(batch.trained_rows.size()), bounds.trained_rows);
        EXPECT_LE(batch.max_seqlen, bounds.max_seqlen);
      }
    }
    EXPECT_EQ(bounds.tokens % kTokenMultiple, 0);
  }
}

std::vector<int> times_seen(const BatchPlan& plan, std::int64_t rows, std::int64_t epochs) {
  std::vector<int> times(static_cast<std::size_t>(rows), 0);
  for (std::int64_t step = 0; step < epochs * plan.units_per_epoch(); ++step) {
    for (const auto row : plan.global_rows(step)) ++times[row];
  }
  return times;
}

TEST(BatchPlan, WeightsRepeatTheRowsOfASource) {
  const TokenSet set = testing::set_of_lengths({{4, 5, 6, 7}, {4, 5, 6, 7, 8, 9}, {3, 3}});
  for (const bool shuffle : {false, true}) {
    const BatchPlan plan(set, {.global_batch_size = 1, .shuffle = shuffle, .source_weights = {2, 0.5, 0}});
    EXPECT_EQ(plan.units_per_epoch(), 8 + 3);
    EXPECT_EQ(times_seen(plan, 12, 2), (std::vector<int>{4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 0, 0}));
  }
}

TEST(BatchPlan, WeightedSourcesInterleaveEvenlyInOrder) {
  const TokenSet set = testing::set_of_lengths({{4, 4, 4, 4}, {4, 4}});
  const BatchPlan plan(set, {.global_batch_size = 6, .shuffle = false, .source_weights = {1, 1}});
  EXPECT_EQ(plan.global_rows(0), (Rows{0, 4, 1, 2, 5, 3}));
  EXPECT_EQ(plan.global_rows(1), plan.global_rows(0));
}

TEST(BatchPlan, WeightedPacksHoldOneSourceEach) {
  const TokenSet set = testing::set_of_lengths({{4, 4, 4, 4, 4}, {4, 4, 4}});
  const BatchPlan plan(set, {.global_batch_size = 1, .seq_length = 8, .packed = true, .source_weights = {1, 2}});
  EXPECT_EQ(plan.units(), 3 + 2);
  EXPECT_EQ(plan.units_per_epoch(), 3 + 4);
  EXPECT_EQ(times_seen(plan, 8, 3), (std::vector<int>{3, 3, 3, 3, 3, 6, 6, 6}));
  for (std::int64_t step = 0; step < 7; ++step) {
    const Rows pack = plan.global_rows(step);
    EXPECT_EQ(set.source(pack.front()), set.source(pack.back()));
  }
}

TEST(BatchPlan, RefusesWhatCannotBe) {
  const TokenSet set = testing::random_set(8, 1);
  EXPECT_EQ(message_of([&] { BatchPlan(set, {.global_batch_size = 6, .micro_batch_size = 4}); }),
            "global_batch_size (6) must be a multiple of micro_batch_size (4) × data-parallel size (1)");
  EXPECT_EQ(message_of([&] { BatchPlan(TokenSet(), {}); }), "the data set has no rows to train on");
  EXPECT_NE(message_of([&] {
              BatchPlan(set, {.source_weights = {1, 2}});
            }).find("2 numbers for 1 sources"),
            std::string::npos);
  EXPECT_NE(message_of([&] { BatchPlan(set, {.source_weights = {-1}}); }).find("-1"), std::string::npos);
  EXPECT_NE(message_of([&] { BatchPlan(set, {.source_weights = {0}}); }).find("nothing to train"), std::string::npos);
  EXPECT_THROW(BatchPlan(set, {.seq_length = 3}), BugError) << "rows are cut when they are loaded";
}

Rows eval_rows(const EvalPlan& plan) {
  Rows rows;
  for (std::int64_t m = 0; m < plan.micro_batches(); ++m) {
    const auto part = plan.rows(m);
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

TEST(EvalPlan, TakesTheFirstRowsOnceInOrder) {
  const TokenSet set = testing::random_set(10, 1);
  EXPECT_EQ(eval_rows(EvalPlan(set, {.eval_iters = 3, .global_batch_size = 2, .micro_batch_size = 4})),
            (Rows{0, 1, 2, 3, 4, 5}));
  const Rows all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_NE(message_of([&] { EvalPlan(set, {.eval_iters = 0}); }).find("eval_iters (0)"), std::string::npos);
  EXPECT_EQ(eval_rows(EvalPlan(set, {.eval_iters = 100, .global_batch_size = 8})), all);
}

TEST(EvalPlan, CountsPacksWhenPacked) {
  const TokenSet set = testing::set_of_lengths({{300, 200, 500, 10, 100, 400}});
  const EvalPlanSettings settings{
      .eval_iters = 1, .global_batch_size = 2, .micro_batch_size = 1, .seq_length = 512, .packed = true};
  const EvalPlan plan(set, settings);
  ASSERT_EQ(plan.micro_batches(), 2) << "two packs, not two rows";
  EXPECT_EQ(eval_rows(plan), (Rows{0, 1, 2, 3}));
  EXPECT_EQ(plan.total_rows(), 4);
  EXPECT_EQ(plan.trained_tokens(), 299 + 199 + 499 + 9);
}

TEST(EvalPlan, PackedOrSplitOverRanksTheWholeSetIsTheSame) {
  const TokenSet set = testing::random_set(40, 2);
  const EvalPlan plain(set, {.eval_iters = 4, .global_batch_size = 10});
  const EvalPlan packed(set, {.eval_iters = 4, .global_batch_size = 10, .seq_length = 512, .packed = true});
  EXPECT_EQ(sorted(eval_rows(packed)), eval_rows(plain));
  EXPECT_LT(packed.micro_batches(), plain.micro_batches());
  EXPECT_EQ(packed.trained_tokens(), plain.trained_tokens());
  MicroBatch batch;
  for (std::int64_t m = 0; m < packed.micro_batches(); ++m) {
    packed.assemble(m, batch);
    EXPECT_LE(batch.real_tokens, 512);
    EXPECT_LE(static_cast<std::int64_t>(batch.ids.size()), packed.bounds().tokens);
    EXPECT_LE(static_cast<std::int64_t>(batch.cu_seqlens.size()) - 1, packed.bounds().documents);
    EXPECT_LE(static_cast<std::int64_t>(batch.targets.size()), packed.bounds().trained_rows);
    EXPECT_LE(batch.max_seqlen, packed.bounds().max_seqlen);
  }
  for (const bool pack : {false, true}) {
    const EvalPlanSettings whole{.eval_iters = 1, .global_batch_size = 3, .seq_length = 512, .packed = pack};
    EvalPlanSettings part = whole;
    part.data_parallel_size = 2;
    part.micro_batch_size = 2;
    Rows joined;
    for (part.data_parallel_rank = 0; part.data_parallel_rank < 2; ++part.data_parallel_rank) {
      const EvalPlan plan(set, part);
      EXPECT_EQ(plan.trained_tokens(), EvalPlan(set, whole).trained_tokens());
      const Rows rows = eval_rows(plan);
      joined.insert(joined.end(), rows.begin(), rows.end());
    }
    EXPECT_EQ(sorted(joined), sorted(eval_rows(EvalPlan(set, whole))));
  }
}

}  // namespace
}  // namespace primus::data
