#include "base/log.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>

#include "base/error.h"

namespace primus::log {
namespace {

struct State {
  std::mutex mutex;
  Level level = Level::kInfo;
  std::FILE* file = nullptr;
  void (*before_line)() = nullptr;
  void (*after_line)() = nullptr;
};

State& state() {
  static State instance;
  return instance;
}

const char* prefix(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug: ";
    case Level::kInfo:
      return "";
    case Level::kWarning:
      return "warning: ";
    case Level::kError:
      return "error: ";
  }
  return "";
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof text, "%F %T", &local);
  return text;
}

/// A log that cannot be written (no space left, a closed pipe) must not end the run.
void put(std::FILE* file, const std::string& text) {
  std::clearerr(file);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

void set_level(Level level) {
  const std::lock_guard lock(state().mutex);
  state().level = level;
}

void add_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) throw host_lacks("{}: cannot open the log file: {}", path, std::strerror(errno));
  const std::lock_guard lock(state().mutex);
  if (state().file != nullptr) std::fclose(state().file);
  state().file = file;
}

void set_terminal_hooks(void (*before_line)(), void (*after_line)()) {
  const std::lock_guard lock(state().mutex);
  state().before_line = before_line;
  state().after_line = after_line;
}

void write_to_file(std::string_view line) {
  State& log = state();
  const std::lock_guard lock(log.mutex);
  if (log.file != nullptr && log.level <= Level::kInfo) put(log.file, fmt::format("{} {}\n", timestamp(), line));
}

void write(Level level, std::string_view line) {
  State& log = state();
  const std::lock_guard lock(log.mutex);
  if (level < log.level) return;
  if (log.before_line != nullptr) log.before_line();
  put(stderr, fmt::format("{}{}\n", prefix(level), line));
  if (log.after_line != nullptr) log.after_line();
  if (log.file != nullptr) put(log.file, fmt::format("{} {}{}\n", timestamp(), prefix(level), line));
}

}  // namespace primus::log
