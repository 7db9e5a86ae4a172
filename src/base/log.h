#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

/// The process-wide log: lines on stderr and, once a run has a workspace, in a file as well.
/// Writing never throws: a full disk costs log lines, not the run.
namespace primus::log {

enum class Level { kDebug, kInfo, kWarning, kError };

/// Lowest level that is written. Default: kInfo.
void set_level(Level level);

/// Every line from now on is appended to `path` too. Throws Error when the file cannot be opened.
void add_file(const std::string& path);

/// `before_line` is called before a line reaches a terminal and `after_line` after it, so that a progress bar can step
/// aside. Pass nullptrs to remove.
void set_terminal_hooks(void (*before_line)(), void (*after_line)());

void write(Level level, std::string_view line);

/// An info line for the file alone: of what the terminal shows in another way.
void write_to_file(std::string_view line);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace primus::log
