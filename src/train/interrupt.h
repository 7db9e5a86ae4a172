#pragma once

#include "base/error.h"

namespace primus::train {

/// While it lives, the first SIGINT or SIGTERM asks the run to stop after the step; the second ends the process at
/// once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;
  /// kInterrupted after SIGINT, kTerminated after SIGTERM.
  ExitCode exit_code() const;
};

}  // namespace primus::train
