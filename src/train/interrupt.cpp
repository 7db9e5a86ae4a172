#include "train/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace primus::train {
namespace {

volatile std::sig_atomic_t received = 0;

extern "C" void on_signal(int number) {
  if (received != 0) _exit(128 + number);
  received = number;
}

void set_handler(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  received = 0;
  set_handler(on_signal);
}

InterruptGuard::~InterruptGuard() { set_handler(SIG_DFL); }

bool InterruptGuard::requested() const { return received != 0; }

ExitCode InterruptGuard::exit_code() const {
  return received == SIGTERM ? ExitCode::kTerminated : ExitCode::kInterrupted;
}

}  // namespace primus::train
