#pragma once

#include <atomic>
#include <thread>

#include "base/error.h"

namespace primus::train {

/// While it lives, the first SIGINT or SIGTERM asks the run to stop after the step; the second ends the process at
/// once. A thread of its own waits for them, and no other takes them: handlers that ran in the middle of oneDNN's
/// generated code were seen to leave the heap corrupted (one run in about twenty-five). So it must be made before the
/// first thread that computes, and before a device's libraries start theirs: a signal that one of those takes is lost,
/// or ends the process.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const { return received_ != 0; }
  /// kInterrupted after SIGINT, kTerminated after SIGTERM.
  ExitCode exit_code() const;

 private:
  void wait();

  std::atomic<int> received_{0};
  std::atomic<bool> stopped_{false};
  std::thread waiter_;
};

}  // namespace primus::train
