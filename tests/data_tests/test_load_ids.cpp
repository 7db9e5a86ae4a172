#include <gtest/gtest.h>

#include "data/load.h"
#include "data_folder.h"

namespace primus::data {
namespace {

using testing::DataFolder;
using testing::message_of;

std::vector<std::int32_t> ids(const TokenSet& set, std::uint32_t row) {
  return {set.ids(row).begin(), set.ids(row).end()};
}

std::vector<std::int32_t> labels(const TokenSet& set, std::uint32_t row) {
  std::vector<std::int32_t> labels;
  for (std::int64_t t = 0; t < set.length(row); ++t) labels.push_back(set.label(row, t));
  return labels;
}

LoadSettings settings_for(const std::string& path) {
  LoadSettings settings;
  settings.paths = {path};
  settings.vocabulary_size = 512;
  settings.num_workers = 2;
  return settings;
}

using Ids = std::vector<std::int32_t>;

LoadedSet load_set(std::vector<std::string> paths, LoadSettings settings, const tokenizer::Tokenizer* tokenizer) {
  settings.paths = std::move(paths);
  return load_split(Split::kTrain, settings, tokenizer);
}

TEST(LoadIds, ReadsIdsWithAndWithoutLabels) {
  const DataFolder folder;
  const auto path = folder.write("a.jsonl",
                                 "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}\n"
                                 "\n"
                                 "{\"input_ids\": [4, 5]}\r\n"
                                 "{\"input_ids\": [6, 7, 8], \"labels\": [-100, 511, -100]}");
  const LoadedSet loaded = load_set({path}, settings_for(path), nullptr);
  ASSERT_EQ(loaded.tokens.rows(), 3);
  EXPECT_EQ(ids(loaded.tokens, 0), (Ids{1, 2, 3}));
  EXPECT_EQ(labels(loaded.tokens, 0), (Ids{-100, 2, 3}));
  EXPECT_EQ(labels(loaded.tokens, 1), (Ids{4, 5}));
  EXPECT_EQ(labels(loaded.tokens, 2), (Ids{-100, 511, -100}));
  EXPECT_EQ(loaded.tokens.place(2), path + ":4");
  EXPECT_EQ(loaded.tokens.origin(2), (RowOrigin{0, 3, 4}));
  EXPECT_EQ(loaded.summary.trained_tokens, 2 + 1 + 1);
  EXPECT_EQ(loaded.summary.remarks, (std::vector<std::string>{"rows of format input_ids, rendered as they are"}));
}

TEST(LoadIds, CutsAtTheRightAndDropsWhatTrainsNothing) {
  const DataFolder folder;
  const auto path = folder.write("a.jsonl",
                                 "{\"input_ids\": [1,2,3,4,5], \"labels\": [-100,-100,3,-100,5]}\n"
                                 "{\"input_ids\": [1,2,3,4,5], \"labels\": [1,-100,-100,4,5]}\n"
                                 "{\"input_ids\": [1]}\n"
                                 "{\"input_ids\": [1,2], \"labels\": [1,-100]}\n"
                                 "{\"input_ids\": [1,2,3]}\n");
  LoadSettings settings = settings_for(path);
  settings.seq_length = 3;
  const LoadedSet loaded = load_set({path}, settings, nullptr);
  ASSERT_EQ(loaded.tokens.rows(), 2);
  EXPECT_EQ(ids(loaded.tokens, 0), (Ids{1, 2, 3}));
  EXPECT_EQ(labels(loaded.tokens, 0), (Ids{-100, -100, 3}));
  EXPECT_EQ(loaded.summary.rows_read, 5);
  EXPECT_EQ(loaded.summary.cut.count, 2);
  EXPECT_EQ(loaded.summary.cut.places, (std::vector<RowPlace>{{0, 1}, {0, 2}}));
  EXPECT_EQ(loaded.summary.cut.text(loaded.summary.files), path + ":1, " + path + ":2");
  EXPECT_EQ(loaded.summary.dropped.count, 3) << "the first token is never a target";
  EXPECT_EQ(loaded.summary.dropped.places, (std::vector<RowPlace>{{0, 2}, {0, 3}, {0, 4}}));
}

TEST(LoadIds, RefusesASetThatTrainsNothing) {
  const DataFolder folder;
  const auto path = folder.write("a.jsonl", "{\"input_ids\": [1,2,3], \"labels\": [-100,-100,-100]}\n");
  const std::string message = message_of([&] { load_set({path}, settings_for(path), nullptr); });
  EXPECT_NE(message.find("nothing is left to train on: none of 1 rows"), std::string::npos) << message;
  EXPECT_NE(message.find("a.jsonl:1"), std::string::npos);
}

TEST(LoadIds, NamesTheRowAndTheValueThatIsWrong) {
  const DataFolder folder;
  const std::string good = "{\"input_ids\": [1, 2]}\n";
  const auto error_of = [&](const std::string& row) {
    const auto path = folder.write("a.jsonl", good + row + "\n" + good);
    const std::string message = message_of([&] { load_set({path}, settings_for(path), nullptr); });
    EXPECT_EQ(message.find(path + ":2: "), 0U) << message;
    return message.substr(std::min(message.size(), path.size() + 4));
  };
  EXPECT_EQ(error_of("{\"input_ids\": [1, 512]}"), "input_ids[1] is 512, out of the vocabulary: ids go from 0 to 511");
  EXPECT_EQ(error_of("{\"input_ids\": [-100]}"), "input_ids[0] is -100, out of the vocabulary: ids go from 0 to 511");
  EXPECT_EQ(error_of("{\"input_ids\": [1], \"labels\": [-1]}"),
            "labels[0] is -1, out of the vocabulary: ids go from 0 to 511, and -100 is not trained");
  EXPECT_EQ(error_of("{\"input_ids\": [1, 2], \"labels\": [2]}"),
            "input_ids has 2 ids and labels has 1; they must be equally many (the label of a token stands at its own "
            "place)");
  EXPECT_EQ(error_of("{\"input_ids\": []}"), "input_ids is empty");
  EXPECT_NE(error_of("{\"input_ids\": [1.5]}").find("input_ids[0] must be a token id"), std::string::npos);
  EXPECT_NE(error_of("{\"input_ids\": \"1 2\"}").find("input_ids must be a list of token ids"), std::string::npos);
  EXPECT_NE(error_of("{\"input_ids\": [1, 2}").find("broken row: column 20: expected"), std::string::npos);
  EXPECT_NE(error_of("[1, 2]").find("a row must be a JSON object"), std::string::npos);
  EXPECT_NE(error_of("{\"input_ids\": [1], \"x\": \"\xff\"}").find("UTF-8"), std::string::npos);
  EXPECT_NE(error_of("{\"text\": \"a\"}")
                .find("a row of format input_ids needs input_ids; this one has text (it looks "
                      "like text; all rows of a file have one format)"),
            std::string::npos);
}

TEST(LoadIds, TheEarliestWrongRowIsToldWhateverTheThreads) {
  const DataFolder folder;
  std::string content;
  for (int line = 1; line <= 60000; ++line) {
    content += line % 10000 == 7 && line > 30000 ? "{\"input_ids\": [999]}\n" : "{\"input_ids\": [1, 2, 3]}\n";
  }
  content += "{\"input_ids\": ";
  const auto path = folder.write("a.jsonl", content);
  for (int workers = 1; workers <= 4; ++workers) {
    LoadSettings settings = settings_for(path);
    settings.num_workers = workers;
    EXPECT_EQ(message_of([&] {
                load_set({path, folder.path() + "/missing"}, settings, nullptr);
              }),
              folder.path() + "/missing: no such file or directory");
    EXPECT_EQ(message_of([&] { load_set({path}, settings, nullptr); }).find(path + ":30007: "), 0U);
  }
}

TEST(LoadIds, TheNumberOfWorkersChangesNothing) {
  const DataFolder folder;
  std::string content;
  for (int row = 0; row < 30000; ++row) {
    content += fmt::format("{{\"input_ids\": [{}, {}, {}]}}\n", row % 512, row / 512, row % 7);
  }
  const auto path = folder.write("a.jsonl", content);
  LoadSettings settings = settings_for(path);
  settings.num_workers = 1;
  const LoadedSet one = load_set({path}, settings, nullptr);
  settings.num_workers = 4;
  const LoadedSet four = load_set({path}, settings, nullptr);
  ASSERT_EQ(one.tokens.rows(), 30000);
  const auto a = one.tokens.arrays().ids, b = four.tokens.arrays().ids;
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  EXPECT_EQ(one.tokens.arrays().origins.back(), four.tokens.arrays().origins.back());
}

TEST(LoadIds, ATokenizerIsAskedForWhenTextComesWithoutOne) {
  const DataFolder folder;
  const auto path = folder.write("a.jsonl", "{\"text\": \"a\"}\n");
  EXPECT_EQ(message_of([&] { load_set({path}, settings_for(path), nullptr); }),
            path +
                ":1: rows of format text need a tokenizer, and the checkpoint has no tokenizer.json (rows of input_ids "
                "need none)");
}

TEST(LoadIds, EachPathIsASource) {
  const DataFolder folder;
  folder.write("first/b.jsonl", "{\"input_ids\": [2, 2]}\n");
  folder.write("first/a.jsonl", "{\"input_ids\": [1, 1]}\n");
  const auto second = folder.write("second.json", "[{\"input_ids\": [3, 3]}, {\"input_ids\": [4, 4]}]");
  LoadSettings settings = settings_for(folder.path() + "/first");
  settings.paths.push_back(second);
  std::int64_t done = 0, total = 0;
  settings.on_progress = [&](std::int64_t d, std::int64_t t) {
    EXPECT_GE(d, done);
    done = d;
    total = t;
  };
  const TokenSet set = load(settings, nullptr).training.tokens;
  ASSERT_EQ(set.rows(), 4);
  EXPECT_EQ(set.ids(0)[0], 1) << "the files of a directory come sorted";
  EXPECT_EQ(set.ids(3)[0], 4);
  EXPECT_EQ(set.sources(), 2);
  EXPECT_EQ(set.source(1), 0);
  EXPECT_EQ(set.source(2), 1);
  EXPECT_GT(total, 0);
  EXPECT_EQ(done, total);
}

std::string rows_of_ids(int rows) {
  std::string content;
  for (int row = 0; row < rows; ++row) content += fmt::format("{{\"input_ids\": [{}, {}]}}\n", row, row);
  return content;
}

std::vector<std::uint32_t> numbers(const TokenSet& set) {
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = 0; row < set.rows(); ++row) rows.push_back(set.origin(row).row);
  return rows;
}

TEST(Validation, AFractionIsHeldOutBySeed) {
  const DataFolder folder;
  LoadSettings settings = settings_for(folder.write("a.jsonl", rows_of_ids(200)));
  settings.validation_fraction = 0.101;
  const LoadedData data = load(settings, nullptr);
  ASSERT_TRUE(data.validation.has_value());
  EXPECT_EQ(data.validation->tokens.rows(), 21) << "rounded up";
  EXPECT_EQ(data.training.tokens.rows(), 179);
  EXPECT_EQ(data.training.summary.rows, 179);
  EXPECT_EQ(data.training.summary.tokens, 358);
  std::vector<std::uint32_t> all = numbers(data.training.tokens);
  const auto held = numbers(data.validation->tokens);
  EXPECT_TRUE(std::is_sorted(held.begin(), held.end()));
  all.insert(all.end(), held.begin(), held.end());
  std::sort(all.begin(), all.end());
  EXPECT_TRUE(std::adjacent_find(all.begin(), all.end()) == all.end());

  EXPECT_EQ(numbers(load(settings, nullptr).validation->tokens), held);
  settings.seed = 1;
  EXPECT_NE(numbers(load(settings, nullptr).validation->tokens), held);
}

TEST(Validation, ASmallerFractionHoldsOutSomeOfTheSameRows) {
  const DataFolder folder;
  LoadSettings settings = settings_for(folder.write("a.jsonl", rows_of_ids(100)));
  settings.validation_fraction = 0.3;
  const auto many = numbers(load(settings, nullptr).validation->tokens);
  settings.validation_fraction = 0.1;
  const auto few = numbers(load(settings, nullptr).validation->tokens);
  EXPECT_TRUE(std::includes(many.begin(), many.end(), few.begin(), few.end()));
}

TEST(Validation, APathIsRead) {
  const DataFolder folder;
  LoadSettings settings = settings_for(folder.write("a.jsonl", rows_of_ids(5)));
  EXPECT_FALSE(load(settings, nullptr).validation.has_value());
  settings.validation_paths = {folder.write("b.jsonl", rows_of_ids(3))};
  EXPECT_EQ(load(settings, nullptr).validation->tokens.rows(), 3);
}

TEST(Validation, RefusesWhatCannotBe) {
  const DataFolder folder;
  LoadSettings settings = settings_for(folder.write("a.jsonl", rows_of_ids(2)));
  settings.validation_fraction = 0.9;
  EXPECT_NE(message_of([&] { load(settings, nullptr); }).find("holds out all 2 rows"), std::string::npos);
  settings.validation_fraction = 1.0;
  EXPECT_NE(message_of([&] { load(settings, nullptr); }).find("below 1"), std::string::npos);
  settings.validation_fraction = 0.5;
  settings.validation_paths = settings.paths;
  EXPECT_NE(message_of([&] { load(settings, nullptr); }).find("keep one"), std::string::npos);
}

TEST(LoadIds, RefusesSettingsThatMeanNothing) {
  const DataFolder folder;
  LoadSettings settings = settings_for(folder.write("a.jsonl", rows_of_ids(2)));
  settings.format = "chatml";
  EXPECT_NE(message_of([&] { load(settings, nullptr); }).find("\"chatml\" is no format; there are input_ids, messages"),
            std::string::npos);
  settings.format = "messages";
  EXPECT_NE(message_of([&] { load(settings, nullptr); }).find("a row of format messages needs messages"),
            std::string::npos);
  settings.format = "";
  settings.columns = {{"question", "prompt"}};
  EXPECT_NE(message_of([&] { load(settings, nullptr); }).find("\"question\" is no column of any format"),
            std::string::npos);
  settings.columns = {{"prompt", "question"}};
  EXPECT_EQ(load(settings, nullptr).training.tokens.rows(), 2);
  EXPECT_EQ(message_of([&] { load_set({}, settings, nullptr); }), "no data: set dataset.path");
}

}  // namespace
}  // namespace primus::data
