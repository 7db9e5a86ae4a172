#include <gtest/gtest.h>

#include "fake_backend.h"
#include "tensor/replay.h"

namespace primus::test {
namespace {

/// What the fake device was asked for, and what it answers.
struct FakeRecorder {
  int begun = 0, played = 0, destroyed = 0;
  bool is_wanted = true, can_record = true;
  double seconds = 1e-9;
};
FakeRecorder recorder;

constexpr Recorder kFake = {
    .begin =
        [](int, void*) {
          if (recorder.is_wanted) ++recorder.begun;
          return recorder.is_wanted;
        },
    .end = [](int, void*) -> void* { return recorder.can_record ? &recorder : nullptr; },
    .play = [](int, void*, void*) { ++recorder.played; },
    .seconds_of_first_play = [](int, void*) { return recorder.seconds; },
    .destroy = [](int, void*) { ++recorder.destroyed; },
};

class Replays : public testing::Test {
 protected:
  void SetUp() override {
    recorder = {};
    static Backend backend = fake_backend();
    backend.recorder = &kFake;
    register_backend(backend);
    stream_.emplace(Device{});
  }
  void TearDown() override {
    stream_.reset();
    register_backend(fake_backend());
  }
  /// How often the body ran.
  int run(Replay& replay, const Replay::Form& form, int times = 1) {
    int bodies = 0;
    for (int i = 0; i < times; ++i) replay.run(*stream_, form, [&] { ++bodies; });
    return bodies;
  }

  std::optional<Stream> stream_;
};

TEST_F(Replays, RunOnceThenRecordThenPlay) {
  Replay replay;
  EXPECT_EQ(run(replay, {1}), 1);
  EXPECT_EQ(recorder.begun, 0);
  EXPECT_EQ(run(replay, {1}), 1);  // while it is recorded
  EXPECT_EQ(recorder.begun, 1);
  EXPECT_EQ(recorder.played, 1);
  EXPECT_EQ(run(replay, {1}, 5), 0);
  EXPECT_EQ(recorder.played, 6);
  EXPECT_EQ(replay.recordings(), 1U);
}

TEST_F(Replays, EveryFormHasItsOwn) {
  Replay replay;
  EXPECT_EQ(run(replay, {1}, 3), 2);
  EXPECT_EQ(run(replay, {2}, 3), 2);
  EXPECT_EQ(replay.recordings(), 2U);
}

TEST_F(Replays, WorkThatKeepsTheDeviceBusyRuns) {
  recorder.seconds = 1e9;
  Replay replay;
  EXPECT_EQ(run(replay, {1}, 2), 2);
  EXPECT_EQ(replay.recordings(), 0U);
  EXPECT_EQ(run(replay, {1}, 5), 5);
  EXPECT_EQ(recorder.begun, 1);
  EXPECT_EQ(recorder.destroyed, 1);
}

TEST_F(Replays, NothingIsJudgedBeforeTheDeviceIsDone) {
  recorder.seconds = 0.0;
  Replay replay;
  EXPECT_EQ(run(replay, {1}, 4), 2);
  recorder.seconds = 1e9;
  EXPECT_EQ(run(replay, {1}), 0);  // was played, then judged
  EXPECT_EQ(run(replay, {1}), 1);
}

TEST_F(Replays, WhatCannotBeRecordedRuns) {
  recorder.can_record = false;
  Replay replay;
  EXPECT_EQ(run(replay, {1}), 1);
  EXPECT_EQ(run(replay, {1}), 2);  // what was recorded in vain has not run
  EXPECT_EQ(run(replay, {1}, 3), 3);
  EXPECT_EQ(recorder.played, 0);
}

TEST_F(Replays, SwitchedOff) {
  recorder.is_wanted = false;
  Replay replay;
  EXPECT_EQ(run(replay, {1}, 5), 5);
  EXPECT_EQ(recorder.played, 0);
}

TEST_F(Replays, AnErrorEndsTheRecording) {
  Replay replay;
  run(replay, {1});
  EXPECT_THROW(replay.run(*stream_, {1}, [] { PRIMUS_CHECK(false, 1); }), BugError);
  EXPECT_EQ(recorder.destroyed, 1);
  EXPECT_EQ(run(replay, {1}), 1);
}

TEST_F(Replays, OnlyTheLastUsedAreKept) {
  {
    Replay replay;
    for (std::int64_t form = 0; form < 2 * static_cast<std::int64_t>(Replay::kMostRecordings); ++form) {
      run(replay, {form}, 2);
      EXPECT_LE(replay.recordings(), Replay::kMostRecordings);
    }
    EXPECT_EQ(recorder.destroyed, static_cast<int>(Replay::kMostRecordings));
    EXPECT_EQ(run(replay, {2 * static_cast<std::int64_t>(Replay::kMostRecordings) - 1}), 0);
    EXPECT_EQ(run(replay, {0}), 1);
  }
  EXPECT_EQ(recorder.destroyed, 2 * static_cast<int>(Replay::kMostRecordings));
}

TEST_F(Replays, AnotherStreamHasItsOwn) {
  static Backend backend = fake_backend();
  backend.recorder = &kFake;
  backend.create_stream = [](int) -> void* { return &recorder; };
  register_backend(backend);
  Stream other{Device{}};
  Replay replay;
  run(replay, {1}, 3);
  int bodies = 0;
  replay.run(other, {1}, [&] { ++bodies; });
  EXPECT_EQ(bodies, 1);
  EXPECT_EQ(replay.recordings(), 0U);
}

}  // namespace
}  // namespace primus::test
