#include "train/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>

#include "base/log.h"

namespace primus::train {
namespace {

sigset_t interrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  const sigset_t set = interrupts();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);  // in this thread and all that it starts
  waiter_ = std::thread([this] { wait(); });
}

InterruptGuard::~InterruptGuard() {
  stopped_ = true;
  pthread_kill(waiter_.native_handle(), SIGINT);  // ends its wait
  waiter_.join();
  const sigset_t set = interrupts();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void InterruptGuard::wait() {
  const sigset_t set = interrupts();
  for (int number = 0; sigwait(&set, &number) == 0 && !stopped_;) {
    if (received_ != 0) _exit(128 + number);
    received_ = number;
    log::info("interrupted: saving after this step; a second time ends at once");
  }
}

ExitCode InterruptGuard::exit_code() const {
  return received_ == SIGTERM ? ExitCode::kTerminated : ExitCode::kInterrupted;
}

}  // namespace primus::train
