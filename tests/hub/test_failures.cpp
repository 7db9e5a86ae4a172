#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>

#include "hub_test.h"

/// What a hub, the way to it and the disk can do wrong.
namespace primus::hub {
namespace {

namespace fs = std::filesystem;

class Failure : public testing::HubTest {
 protected:
  std::vector<std::string> ranges() {
    std::vector<std::string> ranges;
    for (const auto& request : hub_.store().requests()) ranges.push_back(request.header("range"));
    return ranges;
  }
};

TEST_F(Failure, ADroppedTransferGoesOnFromWhereItEnded) {
  hub_.drop_next("model.safetensors", 100'000);
  hub_.drop_next("model.safetensors", 50'000);
  expect_whole(fetch());
  EXPECT_EQ(ranges(), (std::vector<std::string>{"", "bytes=100000-", "bytes=150000-"}));
}

TEST_F(Failure, DropsThatBringSomethingDoNotCountAsFailedTries) {
  for (int i = 0; i < 10; ++i) hub_.drop_next("model.safetensors", 20'000);
  expect_whole(fetch());
}

TEST_F(Failure, WhatAKilledProcessLeftIsGoneOnFrom) {
  fs::create_directories(folder() / "blobs");
  write_text(partial("model.safetensors"), hub_.content("model.safetensors").substr(0, 123'456));
  expect_whole(fetch());
  EXPECT_EQ(ranges(), std::vector<std::string>{"bytes=123456-"});
}

TEST_F(Failure, AWholePartIsOnlyChecked) {
  fs::create_directories(folder() / "blobs");
  write_text(partial("model.safetensors"), hub_.content("model.safetensors"));
  expect_whole(fetch());
  EXPECT_EQ(hub_.downloads_of("model.safetensors"), 0);
}

TEST_F(Failure, APartOfSomethingElseIsThrownAway) {
  fs::create_directories(folder() / "blobs");
  for (const std::size_t size : {100'000UL, 300'000UL, 400'000UL}) {
    write_text(partial("model.safetensors"), std::string(size, 'x'));
    expect_whole(fetch());
    fs::remove_all(folder() / "snapshots");
    fs::remove(folder() / "blobs" / hub_.etag("model.safetensors"));
  }
}

TEST_F(Failure, AServerWithoutRangesSendsAllAgain) {
  hub_.ignores_ranges = true;
  hub_.drop_next("model.safetensors", 100'000);
  expect_whole(fetch());
}

TEST_F(Failure, AServerThatNeverGetsFurtherIsGivenUp) {
  hub_.ignores_ranges = true;
  for (int i = 0; i < 10; ++i) hub_.drop_next("model.safetensors", 100'000);
  expect_refused(ExitCode::kHostLacks, {"model.safetensors", "3 tries"});
}

TEST_F(Failure, AWrongChecksumIsToldAndNothingIsKept) {
  for (const char* path : {"model.safetensors", "config.json"}) {
    hub_.wrong_content_of = path;
    expect_refused(ExitCode::kHostLacks, {path, "checksum", hub_.etag(path)});
    EXPECT_FALSE(fs::exists(folder() / "blobs" / hub_.etag(path)));
    EXPECT_FALSE(fs::exists(partial(path)));
    fs::remove_all(folder());
  }
}

TEST_F(Failure, MoreBytesThanListedAreRefused) {
  hub_.ignores_ranges = true;
  for (int i = 0; i < 4; ++i) {
    hub_.fail_next("config.json", {.status = 200, .headers = {}, .body = std::string(100, 'x')});
  }
  expect_refused(ExitCode::kHostLacks, {"config.json", "more than the 3 bytes"});
}

TEST_F(Failure, BusyServersAreAskedAgain) {
  hub_.fail_next("main", {.status = 503});
  hub_.fail_next("main", {.status = 500});
  hub_.fail_next("config.json", {.status = 502});
  hub_.fail_next("model.safetensors", {.status = 408});
  expect_whole(fetch());
}

TEST_F(Failure, ServersThatKeepFailingAreGivenUp) {
  for (int i = 0; i < 3; ++i) hub_.fail_next("config.json", {.status = 503});
  expect_refused(ExitCode::kHostLacks, {"config.json", "503", "3 tries"});
}

TEST_F(Failure, TooManyRequestsAreWaitedFor) {
  hub_.fail_next("main", {.status = 429, .headers = {"Retry-After: 1"}});
  const auto begin = std::chrono::steady_clock::now();
  expect_whole(fetch());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST_F(Failure, TooLongAWaitIsTold) {
  hub_.fail_next("main", {.status = 429, .headers = {"Retry-After: 3600"}});
  expect_refused(ExitCode::kHostLacks, {"429", "3600 s"});
  hub_.fail_next("main", {.status = 429, .headers = {"Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"}});
  expect_refused(ExitCode::kHostLacks, {"429", "come again in"});
}

TEST_F(Failure, WithoutATokenAPrivateRepositoryIsRefused) {
  hub_.token = "hf_right";
  expect_refused(ExitCode::kBadInput, {"org/model", "401", "Invalid username", "set HF_TOKEN"});
  settings_.token = "hf_wrong_and_secret";
  expect_refused(ExitCode::kBadInput, {"org/model", "401", "HF_TOKEN is not valid"});
  EXPECT_EQ(std::string(refused().what()).find("secret"), std::string::npos);
}

TEST_F(Failure, AGatedRepositorySaysWhereToAccept) {
  hub_.fail_next("model.safetensors", {.status = 403});
  expect_refused(ExitCode::kBadInput, {"403", "Accept the conditions at " + hub_.address() + "/org/model"});
}

TEST_F(Failure, WhatIsNotThereIsNamed) {
  repository_.name = "org/modle";
  expect_refused(ExitCode::kBadInput, {"org/modle", "404", "Repository not found"});
  repository_ = {.kind = Kind::kModel, .name = "org/model", .revision = "v7"};
  expect_refused(ExitCode::kBadInput, {"org/model", "404", "no revision v7"});
  repository_.revision = "main";
  hub_.fail_next("config.json", {.status = 404});
  expect_refused(ExitCode::kBadInput, {"config.json", "404"});
}

TEST_F(Failure, NothingOfUse) {
  wanted_.choose = [](const std::vector<std::string>&) { return std::vector<std::string>(); };
  expect_refused(ExitCode::kBadInput, {"org/model", "none of its files", "README.md, config.json"});
}

TEST_F(Failure, NobodyAnswers) {
  settings_.endpoint = "http://127.0.0.1:1";
  expect_refused(ExitCode::kHostLacks, {"org/model", "http://127.0.0.1:1", "3 tries"});
}

TEST_F(Failure, OfflineSaysSo) {
  settings_.offline = true;
  expect_refused(ExitCode::kBadInput, {"org/model", settings_.cache.string(), "HF_HUB_OFFLINE"});
  EXPECT_TRUE(hub_.endpoint().requests().empty());
}

TEST_F(Failure, AnAnswerThatIsNoList) {
  hub_.fail_next("main", {.status = 200, .headers = {}, .body = "<html>Sign in to the wireless network</html>"});
  expect_refused(ExitCode::kHostLacks, {"no list of files"});
  hub_.fail_next("main", {.status = 200, .headers = {}, .body = R"({"sha": "../../x", "siblings": []})"});
  expect_refused(ExitCode::kHostLacks, {"names no commit"});
}

TEST_F(Failure, ASilentServerIsLeftAndAskedAgain) {
  hub_.drop_next("model.safetensors", 1000, /*stall=*/true);
  expect_whole(fetch());
  EXPECT_EQ(ranges().back(), "bytes=1000-");
}

TEST_F(Failure, AFullDisk) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{200'000, 200'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int status = 2;
    try {
      fetch();
    } catch (const Error& error) {
      const bool said = std::string(error.what()).find("cannot write") != std::string::npos;
      status = said && error.code() == ExitCode::kHostLacks ? 0 : 1;
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  expect_whole(fetch());
  EXPECT_NE(ranges().back(), "") << "what fitted on the disk was kept";
}

}  // namespace
}  // namespace primus::hub
