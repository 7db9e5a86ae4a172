#include <sys/wait.h>

#include "hub_test.h"

/// What a download leaves, and when none is needed.
namespace primus::hub {
namespace {

namespace fs = std::filesystem;
using testing::FakeHub;

class Snapshot : public testing::HubTest {};

TEST_F(Snapshot, HasTheLayoutOfHuggingFacesCache) {
  const fs::path snapshot = fetch();
  EXPECT_EQ(snapshot, folder() / "snapshots" / FakeHub::kCommit);
  expect_whole(snapshot);
  EXPECT_EQ(read_text(folder() / "refs/main"), FakeHub::kCommit);
  EXPECT_EQ(fs::read_symlink(snapshot / "config.json"), "../../blobs/" + hub_.etag("config.json"));
  EXPECT_EQ(fs::read_symlink(snapshot / "extra/deep file+.json"),
            "../../../blobs/" + hub_.etag("extra/deep file+.json"));
  EXPECT_EQ(fs::read_symlink(snapshot / "model.safetensors"), "../../blobs/" + hub_.etag("model.safetensors"));
  EXPECT_TRUE(fs::is_regular_file(folder() / "blobs" / hub_.etag("model.safetensors")));
  EXPECT_EQ(files_of(snapshot),
            (std::vector<std::string>{"config.json", "extra/deep file+.json", "model.safetensors"}));
}

TEST_F(Snapshot, InTheCacheNeedsNoHub) {
  fetch();
  const std::size_t asked = hub_.endpoint().requests().size();
  expect_whole(fetch());
  EXPECT_EQ(hub_.endpoint().requests().size(), asked);
  settings_.endpoint = "http://127.0.0.1:1";
  expect_whole(fetch());
  settings_.offline = true;
  expect_whole(fetch());
}

TEST_F(Snapshot, FilesThatAreThereAreNotDownloadedAgain) {
  const fs::path snapshot = fetch();
  fs::remove(snapshot / "config.json");
  fs::remove(folder() / "blobs" / hub_.etag("config.json"));
  expect_whole(fetch());
  EXPECT_EQ(hub_.downloads_of("config.json"), 2);
  EXPECT_EQ(hub_.downloads_of("model.safetensors"), 1);
}

TEST_F(Snapshot, TakesEtagsFromTheFilesWhenTheListHasNone) {
  hub_.lists_blobs = false;
  expect_whole(fetch());
  EXPECT_EQ(hub_.downloads_of("model.safetensors"), 1);
}

TEST_F(Snapshot, OfARevision) {
  repository_.revision = "v1";
  expect_whole(fetch());
  EXPECT_EQ(read_text(folder() / "refs/v1"), FakeHub::kCommit);
  repository_.revision = FakeHub::kCommit;
  settings_.offline = true;
  expect_whole(fetch());
}

TEST_F(Snapshot, WithoutACheckAsksForTheListAndTakesTheCacheWhenNobodyAnswers) {
  wanted_.suffices = {};
  expect_whole(fetch());
  expect_whole(fetch());
  EXPECT_EQ(hub_.endpoint().requests().back().path,
            std::string("/api/models/org/model/revision/") + FakeHub::kCommit + "?blobs=true")
      << "of the cached commit, so that a run goes on with the same files";
  settings_.endpoint = "http://127.0.0.1:1";
  expect_whole(fetch());
  settings_.offline = true;
  expect_whole(fetch());
}

TEST_F(Snapshot, DownloadsSeveralFilesAtOnceAndSaysHowFar) {
  for (int i = 0; i < 8; ++i) hub_.add_small("part" + std::to_string(i) + ".json", testing::noise(1000));
  hub_.delay_ms = 30;
  std::mutex mutex;
  std::int64_t last = 0, total = 0;
  settings_.on_progress = [&](std::int64_t done, std::int64_t all) {
    const std::lock_guard lock(mutex);
    last = std::max(last, done);
    total = all;
  };
  fetch();
  EXPECT_GE(hub_.endpoint().most_at_once(), 2);
  EXPECT_LE(hub_.endpoint().most_at_once(), settings_.connections);
  EXPECT_EQ(total, 300'000 + 8 * 1000 + 3 + 4);
  EXPECT_EQ(last, total);
}

TEST_F(Snapshot, DataSetsLieBesideModels) {
  FakeHub hub("org/rows", "datasets");
  hub.add_small("train.jsonl", "{}\n");
  settings_.endpoint = hub.address();
  repository_ = {.kind = Kind::kDataset, .name = "org/rows"};
  wanted_.suffices = {};
  const fs::path snapshot = fetch();
  EXPECT_EQ(snapshot, settings_.cache / "datasets--org--rows/snapshots" / FakeHub::kCommit);
  EXPECT_EQ(read_text(snapshot / "train.jsonl"), "{}\n");
}

TEST_F(Snapshot, TheTokenGoesToTheEndpointAlone) {
  hub_.token = settings_.token = "hf_secret";
  expect_whole(fetch());
  ASSERT_FALSE(hub_.store().requests().empty());
  for (const auto& request : hub_.store().requests()) EXPECT_EQ(request.header("authorization"), "");
}

TEST_F(Snapshot, PathsThatLeaveTheFolderAreLeftOut) {
  hub_.extra_listing = R"(, {"rfilename": "../evil", "size": 1, "blobId": "aa"}, {"rfilename": "/etc/evil"})"
                       R"(, {"rfilename": "a//b"}, {"rfilename": "a/./b"}, {"rfilename": "a\nb"})";
  expect_whole(fetch());
}

TEST_F(Snapshot, ProcessesShareTheWork) {
  hub_.delay_ms = 20;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      int status = 2;
      try {
        status = read_text(fetch() / "model.safetensors") == hub_.content("model.safetensors") ? 0 : 1;
      } catch (...) {
      }
      ::_exit(status);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(hub_.downloads_of("model.safetensors"), 1);
  EXPECT_EQ(hub_.downloads_of("config.json"), 1);
}

}  // namespace
}  // namespace primus::hub
