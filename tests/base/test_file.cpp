#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../support/file_size_limit.h"
#include "base/error.h"
#include "base/file.h"

namespace primus {
namespace {

namespace fs = std::filesystem;

/// A fresh folder for each test. The failures below fail for root as well: paths under a regular file, full devices,
/// limits on the size of files.
class File : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::path(testing::TempDir()) / "primus_file_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path().filename());
    std::ranges::sort(found);
    return found;
  }

  fs::path folder_;
};

using Names = std::vector<std::string>;

void expect_error(const auto& run, ExitCode code, const std::string& message) {
  try {
    run();
    FAIL() << "no error; expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), message);
    EXPECT_EQ(error.code(), code);
  }
}

TEST_F(File, MapsWhatIsThere) {
  const std::string text("one\0two\n", 8);
  write_text(folder_ / "a", text);
  const MappedFile file(folder_ / "a");
  EXPECT_EQ(file.text(), text);
  EXPECT_EQ(file.bytes().size(), 8U);
  EXPECT_EQ(file.path(), folder_ / "a");
  EXPECT_EQ(read_text(folder_ / "a"), text);
}

TEST_F(File, MapsAnEmptyFile) {
  write_text(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_EQ(read_text(folder_ / "empty"), "");
}

TEST_F(File, MappingOutlivesTheNameAndMoves) {
  write_text(folder_ / "a", "first");
  write_text(folder_ / "b", "second");
  MappedFile a(folder_ / "a");
  MappedFile b(folder_ / "b");
  fs::remove(folder_ / "a");
  MappedFile moved(std::move(a));
  EXPECT_EQ(moved.text(), "first");
  b = std::move(moved);
  EXPECT_EQ(b.text(), "first");
}

TEST_F(File, MappingAFileThatIsReplacedKeepsTheOldBytes) {
  write_text(folder_ / "a", "old");
  const MappedFile file(folder_ / "a");
  write_text(folder_ / "a", "new!");
  EXPECT_EQ(file.text(), "old");
  EXPECT_EQ(read_text(folder_ / "a"), "new!");
}

TEST_F(File, SaysWhatCannotBeMapped) {
  const std::string missing = folder_ / "missing";
  expect_error([&] { MappedFile file(missing); }, ExitCode::kBadInput,
               missing + ": cannot open: No such file or directory");
  expect_error([&] { MappedFile file(folder_); }, ExitCode::kBadInput, folder_.string() + ": not a regular file");
  expect_error([&] { read_text("/dev/zero"); }, ExitCode::kBadInput, "/dev/zero: not a regular file");
  write_text(folder_ / "a", "x");
  const std::string below = folder_ / "a" / "b";
  expect_error([&] { read_text(below); }, ExitCode::kBadInput, below + ": cannot open: Not a directory");
}

TEST_F(File, AtomicFileShowsTheOldUntilTheEnd) {
  write_text(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write("new ");
    file.write("text");
    EXPECT_EQ(file.size(), 8U);
    EXPECT_EQ(read_text(folder_ / "a"), "old");
    file.finish();
  }
  EXPECT_EQ(read_text(folder_ / "a"), "new text");
  EXPECT_EQ(names(), Names{"a"});
}

TEST_F(File, AtomicFileThatIsGivenUpLeavesTheOld) {
  write_text(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write("half");
  }
  EXPECT_EQ(read_text(folder_ / "a"), "old");
  EXPECT_EQ(names(), Names{"a"});
}

TEST_F(File, AtomicFileSaysWhereItCannotBeMade) {
  write_text(folder_ / "a", "x");
  const std::string below = folder_ / "a" / "b";
  expect_error([&] { write_text(below, "y"); }, ExitCode::kRunFailed, below + ": cannot create: Not a directory");
  const std::string missing = folder_ / "missing" / "b";
  expect_error([&] { write_text(missing, "y"); }, ExitCode::kRunFailed,
               missing + ": cannot create: No such file or directory");
}

TEST_F(File, AtomicFileCannotReplaceAFolder) {
  fs::create_directory(folder_ / "a");
  const std::string path = folder_ / "a";
  expect_error([&] { write_text(path, "y"); }, ExitCode::kRunFailed,
               path + ": cannot put the new file in place: Is a directory");
  EXPECT_EQ(names(), Names{"a"});
}

TEST_F(File, AtomicFileLeavesTheOldWhenTheDiskIsFull) {
  const std::string path = folder_ / "a";
  write_text(path, "old");
  {
    const FileSizeLimit limit(4096);
    expect_error([&] { write_text(path, std::string(10'000, 'x')); }, ExitCode::kRunFailed,
                 path + ": cannot write after 4096 bytes: File too large");
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(names(), Names{"a"});
}

TEST_F(File, MakesDirectoriesWithTheirParents) {
  make_directories(folder_ / "a" / "b" / "c");
  EXPECT_TRUE(fs::is_directory(folder_ / "a" / "b" / "c"));
  EXPECT_NO_THROW(make_directories(folder_ / "a" / "b" / "c"));
}

TEST_F(File, SaysWhichDirectoryCannotBeMade) {
  write_text(folder_ / "a", "x");
  const std::string below = folder_ / "a" / "b" / "c";
  expect_error([&] { make_directories(below); }, ExitCode::kHostLacks,
               below + ": cannot create the directory: Not a directory");
  const std::string file = folder_ / "a";
  expect_error([&] { make_directories(file); }, ExitCode::kHostLacks,
               file + ": cannot create the directory: Not a directory");
}

void fill_with(const fs::path& folder, const std::string& text) {
  fs::create_directory(folder / "deep");
  write_text(folder / "deep" / "file", text);
}

TEST_F(File, MakesAndReplacesADirectory) {
  for (const std::string text : {"one", "two"}) {
    replace_directory(folder_ / "goal", [&](const fs::path& folder) {
      EXPECT_TRUE(fs::is_empty(folder));
      fill_with(folder, text);
    });
    EXPECT_EQ(read_text(folder_ / "goal" / "deep" / "file"), text);
    EXPECT_EQ(names(), Names{"goal"});
  }
}

TEST_F(File, ReplacesADirectoryNamedWithASlash) {
  for (const std::string text : {"one", "two"}) {
    replace_directory(folder_ / "goal" / "", [&](const fs::path& folder) { fill_with(folder, text); });
    EXPECT_EQ(read_text(folder_ / "goal" / "deep" / "file"), text);
    EXPECT_EQ(names(), Names{"goal"});
  }
}

TEST_F(File, MakesTheParentsOfADirectory) {
  replace_directory(folder_ / "a" / "b", [](const fs::path& folder) { fill_with(folder, "x"); });
  EXPECT_EQ(read_text(folder_ / "a" / "b" / "deep" / "file"), "x");
}

TEST_F(File, DirectoryIsSeenOnlyWhole) {
  replace_directory(folder_ / "goal", [](const fs::path& folder) { fill_with(folder, "old"); });
  replace_directory(folder_ / "goal", [&](const fs::path& folder) {
    fill_with(folder, "new");
    EXPECT_EQ(read_text(folder_ / "goal" / "deep" / "file"), "old");
  });
  EXPECT_EQ(read_text(folder_ / "goal" / "deep" / "file"), "new");
}

TEST_F(File, DirectoryIsThereAtEveryMoment) {
  const fs::path goal = folder_ / "goal";
  const auto replace = [&] { replace_directory(goal, [](const fs::path& folder) { fill_with(folder, "x"); }); };
  replace();
  std::atomic<bool> done = false;
  std::atomic<int> missing = 0;
  std::thread reader([&] {
    // not a file below it: who has found the old folder may find it emptied a moment later
    while (!done) missing += fs::exists(goal) ? 0 : 1;
  });
  for (int i = 0; i < 100; ++i) replace();
  done = true;
  reader.join();
  EXPECT_EQ(missing, 0);
}

TEST_F(File, DirectoryStaysWhenFillingFails) {
  replace_directory(folder_ / "goal", [](const fs::path& folder) { fill_with(folder, "old"); });
  expect_error(
      [&] {
        replace_directory(folder_ / "goal", [](const fs::path& folder) {
          fill_with(folder, "half");
          throw bad_input("no more");
        });
      },
      ExitCode::kBadInput, "no more");
  EXPECT_EQ(read_text(folder_ / "goal" / "deep" / "file"), "old");
  EXPECT_EQ(names(), Names{"goal"});
}

TEST_F(File, DirectoryStaysWhenTheDiskIsFull) {
  replace_directory(folder_ / "goal", [](const fs::path& folder) { fill_with(folder, "old"); });
  {
    const FileSizeLimit limit(4096);
    EXPECT_THROW(replace_directory(folder_ / "goal",
                                   [](const fs::path& folder) { fill_with(folder, std::string(10'000, 'x')); }),
                 Error);
  }
  EXPECT_EQ(read_text(folder_ / "goal" / "deep" / "file"), "old");
  EXPECT_EQ(names(), Names{"goal"});
}

TEST_F(File, ErrorsOfTheFileSystemInAFillNameTheDirectory) {
  const std::string goal = folder_ / "goal";
  expect_error(
      [&] { replace_directory(goal, [](const fs::path& folder) { fs::copy(folder / "missing", folder / "copy"); }); },
      ExitCode::kRunFailed, goal + ": cannot write the directory: No such file or directory");
  EXPECT_EQ(names(), Names{});
}

TEST_F(File, DirectoryUnderAFileIsAnError) {
  write_text(folder_ / "a", "x");
  expect_error([&] { replace_directory(folder_ / "a" / "goal", [](const fs::path&) { FAIL() << "filled"; }); },
               ExitCode::kHostLacks, (folder_ / "a").string() + ": cannot create the directory: Not a directory");
}

TEST_F(File, LeftoversOfAKilledProcessDoNotDisturb) {
  const fs::path partial = folder_ / ("goal.partial-" + std::to_string(::getpid()));
  fs::create_directory(partial);
  std::ofstream(partial / "stale") << "stale";
  replace_directory(folder_ / "goal", [](const fs::path& folder) { fill_with(folder, "x"); });
  EXPECT_FALSE(fs::exists(folder_ / "goal" / "stale"));
  EXPECT_EQ(names(), Names{"goal"});
}

}  // namespace
}  // namespace primus
