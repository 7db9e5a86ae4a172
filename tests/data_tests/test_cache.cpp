#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/digest.h"
#include "base/file.h"
#include "data/cache.h"
#include "data/load.h"
#include "data_folder.h"
#include "make_set.h"
#include "tiny_tokenizer.h"

namespace primus::data {
namespace {

using testing::message_of;
namespace fs = std::filesystem;

/// All that a set holds, to compare.
std::vector<std::vector<std::int64_t>> content_of(const TokenSet& set) {
  std::vector<std::vector<std::int64_t>> rows;
  for (std::uint32_t row = 0; row < set.rows(); ++row) {
    std::vector<std::int64_t> all{set.source(row), set.origin(row).file, set.origin(row).row, set.origin(row).line,
                                  set.trained_tokens(row)};
    for (std::int64_t t = 0; t < set.length(row); ++t) {
      all.push_back(set.ids(row)[static_cast<std::size_t>(t)]);
      all.push_back(set.label(row, t));
    }
    rows.push_back(std::move(all));
  }
  return rows;
}

void add_rows(const TokenSet& set, RowSink& sink) {
  sink.begin_source();
  for (std::uint32_t row = 0; row < set.rows(); ++row) {
    TokenRow tokens;
    for (std::int64_t t = 0; t < set.length(row); ++t) {
      tokens.ids.push_back(set.ids(row)[static_cast<std::size_t>(t)]);
      tokens.labels.push_back(set.label(row, t));
    }
    sink.add(tokens, set.origin(row));
  }
}

class Cache : public ::testing::Test {
 protected:
  StoredSet find(const std::string& key = "key") {
    return TokenCache(folder()).find_or_build(key, {"rows.jsonl"}, 2, [this](RowSink& sink) {
      ++builds_;
      add_rows(set_, sink);
      return DataSummary{.rows_read = 77, .seq_length = 200, .formats = {RowFormat::kMessages}};
    });
  }
  fs::path folder() const { return fs::path(data_.path()) / "cache"; }

  testing::DataFolder data_;
  TokenSet set_ = testing::random_set(500, 3);
  int builds_ = 0;
};

TEST_F(Cache, GivesTheSetThatWasBuiltAndBuildsItOnce) {
  for (const bool labels_differ : {false, true}) {
    builds_ = 0;
    set_ = testing::random_set(500, 3, 200, labels_differ);
    const std::string key = labels_differ ? "differ" : "same";
    for (int times = 0; times < 3; ++times) {
      const StoredSet stored = find(key);
      EXPECT_EQ(content_of(stored.tokens), content_of(set_));
      EXPECT_EQ(stored.tokens.arrays().labels.empty(), !labels_differ);
      EXPECT_EQ(stored.tokens.place(0), "rows.jsonl:1");
      EXPECT_EQ(stored.summary.rows_read, 77);
      EXPECT_EQ(stored.summary.tokens, set_.total_tokens());
      EXPECT_EQ(stored.summary.formats, std::vector{RowFormat::kMessages});
    }
    EXPECT_EQ(builds_, 1);
  }
}

TEST_F(Cache, TheSecondStartNeedNotReadItAgain) {
  find();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder() / "digests"), {}), 7) << "a note for each array";
}

TEST_F(Cache, LabelsThatBeginToDifferLate) {
  TokenSetBuilder builder;
  builder.add_file("rows.jsonl");
  builder.add({{1, 2, 3}, {1, kNotTrained, 3}}, {0, 1, 1});
  builder.add({{4, 5}, {4, 9}}, {0, 2, 2});
  builder.add({{6, 7}, {6, 7}}, {0, 3, 3});
  set_ = builder.finish();
  EXPECT_EQ(content_of(find().tokens), content_of(set_));
}

TEST_F(Cache, WhatIsDamagedOrForeignIsBuiltAgain) {
  const auto damage = [&](const std::string& what, auto&& harm) {
    find();
    builds_ = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a step of the file system's clock
    harm(folder() / "key");
    EXPECT_EQ(content_of(find().tokens), content_of(set_)) << what;
    EXPECT_EQ(builds_, 1) << what;
  };
  damage("truncated", [](const fs::path& set) { fs::resize_file(set / "ids", fs::file_size(set / "ids") - 4); });
  damage("a changed byte", [](const fs::path& set) {
    std::fstream file(set / "ids", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(17);
    file.put(static_cast<char>(file.peek() ^ 1));
  });
  damage("a missing file", [](const fs::path& set) { fs::remove(set / "origins"); });
  damage("no index", [](const fs::path& set) { fs::remove(set / "set.json"); });
  damage("another's index", [](const fs::path& set) { write_text(set / "set.json", "{\"kind\": \"mine\"}"); });
  damage("no JSON", [](const fs::path& set) { write_text(set / "set.json", "\xff{"); });
  damage("a file in its place", [](const fs::path& set) {
    fs::remove_all(set);
    write_text(set, "not a folder");
  });
  damage("of another key", [&](const fs::path& set) {
    find("other");
    builds_ = 0;
    fs::remove_all(set);
    fs::rename(folder() / "other", set);
  });
}

TEST_F(Cache, ArraysThatDoNotFitAreRefusedThoughTheirDigestsHold) {
  find();
  const fs::path set = folder() / "key";
  fs::create_directories(folder() / "writer");
  TokenSetWriter writer(folder() / "writer");
  writer.add({{1, 2}, {1, 2}}, {3, 1, 1});  // a file that is not there
  writer.finish("key", {});
  fs::remove_all(set);
  fs::rename(folder() / "writer", set);
  EXPECT_NE(
      message_of([&] { open_token_set(set, "key", {"rows.jsonl"}, DigestMemo({}), 1); }).find("do not fit together"),
      std::string::npos);
}

TEST_F(Cache, ABuildThatFailsLeavesNothing) {
  const TokenCache cache(folder());
  EXPECT_THROW(cache.find_or_build("key", {}, 1,
                                   [&](RowSink& sink) -> DataSummary {
                                     add_rows(set_, sink);
                                     throw bad_input("rows.jsonl:7: broken");
                                   }),
               Error);
  for (const auto& entry : fs::directory_iterator(folder())) EXPECT_EQ(entry.path().filename(), "key.lock");
  EXPECT_EQ(content_of(find().tokens), content_of(set_));
}

/// Runs `body` in a process of its own; returns its wait status.
template <typename Body>
pid_t in_child(Body&& body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  int status = 1;
  try {
    status = body();
  } catch (...) {
  }
  ::_exit(status);
}

int wait_for(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}

TEST_F(Cache, AProcessKilledWhileItBuildsHarmsNobody) {
  const fs::path begun = fs::path(data_.path()) / "begun";
  const pid_t pid = in_child([&] {
    TokenCache(folder()).find_or_build("key", {}, 1, [&](RowSink& sink) -> DataSummary {
      add_rows(set_, sink);
      write_text(begun, "");
      while (true) ::pause();
    });
    return 0;
  });
  while (!fs::exists(begun)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(WIFSIGNALED(wait_for(pid)));
  EXPECT_TRUE(fs::exists(folder() / ("key.partial-" + std::to_string(pid))));
  EXPECT_EQ(content_of(find().tokens), content_of(set_));
  EXPECT_FALSE(fs::exists(folder() / ("key.partial-" + std::to_string(pid)))) << "its remains are removed";
}

TEST_F(Cache, OneOfManyProcessesBuildsAndTheOthersWait) {
  const fs::path built = fs::path(data_.path()) / "built";
  constexpr int kProcesses = 4;
  std::vector<pid_t> children;
  children.reserve(kProcesses);
  for (int child = 0; child < kProcesses; ++child) {
    children.push_back(in_child([&] {
      const StoredSet stored = TokenCache(folder()).find_or_build("key", {"rows.jsonl"}, 1, [&](RowSink& sink) {
        std::ofstream(built, std::ios::app) << "x";
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        add_rows(set_, sink);
        return DataSummary{};
      });
      return content_of(stored.tokens) == content_of(set_) ? 0 : 2;
    }));
  }
  for (const pid_t pid : children) EXPECT_EQ(wait_for(pid), 0);
  EXPECT_EQ(read_text(built), "x");
}

TEST_F(Cache, AFullDiskIsAnErrorOfTheHost) {
  const pid_t pid = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      find();
    } catch (const Error& error) {
      const bool said = std::string(error.what()).find("cannot write") != std::string::npos;
      return said && error.code() == ExitCode::kHostLacks && !fs::exists(folder() / "key") ? 0 : 2;
    }
    return 3;
  });
  EXPECT_EQ(wait_for(pid), 0);
}

/// Writes a file and waits until its times are of the past: those of an inode cannot be set.
void write_settled(const fs::path& file, const std::string& text) {
  write_text(file, text);
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
}

TEST(DigestMemo, ReadsAFileAgainOnlyWhenItChanged) {
  const testing::DataFolder data;
  const fs::path file = fs::path(data.path()) / "file", notes = fs::path(data.path()) / "notes";
  const DigestMemo memo(notes);
  write_text(file, "new");
  EXPECT_EQ(memo.digest(file, 1), chunked_digest(file, 1));
  EXPECT_FALSE(fs::exists(notes)) << "a file that may still be changing is not noted";
  write_settled(file, "old");
  EXPECT_EQ(memo.digest(file, 1), chunked_digest(file, 1));
  ASSERT_EQ(std::distance(fs::directory_iterator(notes), {}), 1);
  const fs::path note = fs::directory_iterator(notes)->path();
  std::string text = read_text(note);
  text.back() = text.back() == '0' ? '1' : '0';
  write_text(note, text);
  EXPECT_EQ(memo.digest(file, 1), text.substr(text.find('\n') + 1)) << "the note is believed";
  write_text(file, "odd");
  EXPECT_EQ(memo.digest(file, 1), chunked_digest(file, 1)) << "but not for another content of the same size";
  write_text(note, "damaged");
  EXPECT_EQ(memo.digest(file, 1), chunked_digest(file, 1));
  EXPECT_EQ(DigestMemo({}).digest(file, 1), chunked_digest(file, 1));
}

class CachedLoad : public ::testing::Test {
 protected:
  LoadedSet load(const tokenizer::Tokenizer& tokenizer) {
    built_ = false;
    settings_.on_progress = [this](std::int64_t, std::int64_t) { built_ = true; };
    return load_split(Split::kTrain, settings_, &tokenizer);
  }
  bool builds(const tokenizer::Tokenizer& tokenizer) {
    load(tokenizer);
    return built_;
  }

  testing::DataFolder data_;
  std::string rows_ = R"({"prompt": "one", "completion": " two"})"
                      "\n"
                      R"({"prompt": "a much longer prompt than fits", "completion": " b"})"
                      "\n";
  LoadSettings settings_{.paths = {data_.write("rows.jsonl", rows_)},
                         .chat_template = "none",
                         .seq_length = 20,
                         .cache_folder = fs::path(data_.path()) / "cache"};
  bool built_ = false;
};

TEST_F(CachedLoad, IsTheSameAsWithoutACache) {
  const auto tokenizer = testing::tiny_tokenizer();
  const LoadedSet first = load(tokenizer), second = load(tokenizer);
  EXPECT_FALSE(built_);
  settings_.cache_folder.clear();
  const LoadedSet plain = load(tokenizer);
  EXPECT_TRUE(built_);
  for (const LoadedSet* set : {&first, &second}) {
    EXPECT_EQ(content_of(set->tokens), content_of(plain.tokens));
    EXPECT_EQ(set->summary.text(), plain.summary.text());
  }
  EXPECT_NE(plain.summary.text().find("rows.jsonl:2"), std::string::npos) << plain.summary.text();
}

TEST_F(CachedLoad, IsKeyedByEverythingThatMatters) {
  const auto tokenizer = testing::tiny_tokenizer();
  EXPECT_TRUE(builds(tokenizer));
  EXPECT_FALSE(builds(tokenizer));
  settings_.num_workers = 3;
  EXPECT_FALSE(builds(tokenizer)) << "the number of workers changes nothing";
  settings_.paths = {data_.write("elsewhere/other.jsonl", rows_)};
  const LoadedSet moved = load(tokenizer);
  EXPECT_FALSE(built_) << "nor does the name of the file";
  EXPECT_NE(moved.summary.text().find("other.jsonl:2"), std::string::npos) << "but messages tell the present name";
  EXPECT_NE(moved.tokens.place(0).find("other.jsonl:1"), std::string::npos);

  settings_.seq_length = 30;
  EXPECT_TRUE(builds(tokenizer));
  settings_.loss_mode = LossMode::kFull;
  EXPECT_TRUE(builds(tokenizer));
  settings_.vocabulary_size = 1000;
  EXPECT_TRUE(builds(tokenizer));
  settings_.format = "prompt_completion";
  EXPECT_TRUE(builds(tokenizer));
  settings_.columns = {{"system", "system_prompt"}};
  EXPECT_TRUE(builds(tokenizer));
  EXPECT_TRUE(builds(testing::tiny_tokenizer("", true))) << "another tokenizer";
  const auto chat = testing::tiny_tokenizer(testing::chatml());
  EXPECT_TRUE(builds(chat));
  settings_.chat_template.clear();
  EXPECT_TRUE(builds(chat)) << "with a chat template";
  settings_.chat_template = data_.write("own.jinja", "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}");
  EXPECT_TRUE(builds(chat));
  data_.write("own.jinja", "{% for m in messages %}{{ m.content }} <|im_end|>{% endfor %}");
  EXPECT_TRUE(builds(chat)) << "whose text changed";
  EXPECT_FALSE(builds(chat));
  data_.write("elsewhere/other.jsonl", rows_ + rows_);
  EXPECT_TRUE(builds(chat)) << "other rows";
  settings_.paths = {settings_.paths[0], settings_.paths[0]};
  EXPECT_TRUE(builds(chat)) << "two sources";
}

TEST_F(CachedLoad, ACacheThatCannotBeWrittenCostsOnlyTime) {
  const auto tokenizer = testing::tiny_tokenizer();
  settings_.cache_folder = fs::path(settings_.paths[0]) / "below/a/file";
  EXPECT_TRUE(builds(tokenizer));
  EXPECT_EQ(load(tokenizer).tokens.rows(), 1);
}

TEST_F(CachedLoad, AWrongRowIsToldAsWithoutACache) {
  settings_.paths = {data_.write("rows.jsonl", rows_ + "{broken\n")};
  const auto tokenizer = testing::tiny_tokenizer();
  for (int times = 0; times < 2; ++times) {
    EXPECT_NE(message_of([&] { load(tokenizer); }).find("rows.jsonl:3: broken row"), std::string::npos);
  }
}

}  // namespace
}  // namespace primus::data
