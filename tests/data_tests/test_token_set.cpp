#include <gtest/gtest.h>

#include "data/summary.h"
#include "make_set.h"

namespace primus::data {
namespace {

TEST(TokenSet, KeepsIdsLabelsAndOrigins) {
  TokenSetBuilder builder;
  builder.begin_source();
  const auto file = builder.add_file("a.jsonl");
  builder.add({{5, 6, 7}, {kNotTrained, 6, 7}}, {file, 1, 1});
  builder.add({{8, 9}, {8, kNotTrained}}, {file, 2, 4});
  builder.begin_source();
  const auto other = builder.add_file("b.jsonl");
  builder.add({{1, 2, 3, 4}, {1, 2, 3, 4}}, {other, 1, 1});
  const TokenSet set = builder.finish();

  ASSERT_EQ(set.rows(), 3);
  EXPECT_EQ(set.length(0), 3);
  EXPECT_EQ(std::vector<std::int32_t>(set.ids(2).begin(), set.ids(2).end()), (std::vector<std::int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(set.label(0, 0), kNotTrained);
  EXPECT_EQ(set.label(0, 2), 7);
  EXPECT_EQ(set.label(1, 0), 8);
  EXPECT_EQ(set.trained_tokens(0), 2);
  EXPECT_EQ(set.trained_tokens(1), 0) << "the first token is never a target";
  EXPECT_EQ(set.trained_tokens(2), 3);
  EXPECT_EQ(set.sources(), 2);
  EXPECT_EQ(set.source(1), 0);
  EXPECT_EQ(set.source(2), 1);
  EXPECT_EQ(set.place(1), "a.jsonl:4");
  EXPECT_EQ(set.total_tokens(), 9);
  EXPECT_EQ(set.total_trained_tokens(), 5);
  EXPECT_EQ(set.longest(), 4);
  EXPECT_TRUE(set.arrays().labels.empty()) << "labels that equal the ids need only the bitmap";
}

TEST(TokenSet, KeepsLabelsThatDifferFromTheIds) {
  TokenSetBuilder builder;
  builder.add({{5, 6}, {kNotTrained, 6}}, {});
  builder.add({{7, 8}, {7, 99}}, {});
  builder.add({{1, 2}, {1, 2}}, {});
  const TokenSet set = builder.finish();
  EXPECT_EQ(set.arrays().labels.size(), 6U);
  EXPECT_EQ(set.label(0, 0), kNotTrained);
  EXPECT_EQ(set.label(0, 1), 6);
  EXPECT_EQ(set.label(1, 1), 99);
  EXPECT_EQ(set.label(2, 1), 2);
}

TEST(TokenSet, SubsetOfASubsetSharesTheArrays) {
  const TokenSet set = testing::random_set(50, 3);
  const TokenSet part = set.subset({40, 7, 30, 8}).subset({2, 0});
  ASSERT_EQ(part.rows(), 2);
  EXPECT_EQ(part.place(0), set.place(30));
  EXPECT_EQ(part.ids(1).data(), set.ids(40).data());
  EXPECT_EQ(part.total_tokens(), set.length(30) + set.length(40));
  EXPECT_EQ(part.trained_tokens(1), set.trained_tokens(40));
}

TEST(TokenSet, EmptyOnesWork) {
  EXPECT_EQ(TokenSet().rows(), 0);
  EXPECT_EQ(TokenSet().sources(), 0);
  const TokenSet built = TokenSetBuilder().finish();
  EXPECT_TRUE(built.empty());
  EXPECT_EQ(built.sources(), 1);
}

TEST(Summary, CountsWhatTheSetHolds) {
  const TokenSet set = testing::set_of_lengths({{2, 3, 3, 4, 9}});
  DataSummary summary = summarize(set);
  EXPECT_EQ(summary.rows, 5);
  EXPECT_EQ(summary.tokens, 21);
  EXPECT_EQ(summary.trained_tokens, 16);
  EXPECT_EQ(summary.longest, 9);
  EXPECT_EQ(summary.histogram[1], 3);
  EXPECT_EQ(summary.histogram[2], 1);
  EXPECT_EQ(summary.histogram[3], 1);
  summary.seq_length = 9;
  summary.files = {"a.jsonl"};
  for (std::uint32_t line = 1; line <= 7; ++line) summary.cut.add({0, line});
  EXPECT_EQ(summary.cut.count, 7);
  const std::string text = summary.text();
  EXPECT_NE(text.find("5 rows, 21 tokens, 16 of them trained (76.2 %)"), std::string::npos) << text;
  EXPECT_NE(text.find("7 longer than seq_length 9 and cut at the right: a.jsonl:1, a.jsonl:2"), std::string::npos);
  EXPECT_EQ(text.find("a.jsonl:6"), std::string::npos) << "only the first few are named";
  EXPECT_NE(text.find("a.jsonl:5, …"), std::string::npos);
}

}  // namespace
}  // namespace primus::data
