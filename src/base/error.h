#pragma once

#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

namespace primus {

/// What the process answers with; see "Commands" in docs/reference.md.
enum class ExitCode : int {
  kDone = 0,
  kHostLacks = 1,  // the host lacks something: a device, a library, space
  kBadInput = 2,   // the command line, the configuration, the checkpoint or the data is wrong
  kRunFailed = 3,  // the run started and failed
  kInterrupted = 130,
  kTerminated = 143,
};

/// Something that a user can cause. The message says where (file, line, key, row), what was wrong and how to mend it;
/// `main` prints it as one paragraph and exits with `code()`.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = ExitCode::kBadInput)
      : std::runtime_error(message), code_(code) {}

  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// A device stopped working in the middle of a run. Who knows the iteration adds it to the message.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message) : Error(message, ExitCode::kRunFailed) {}
};

/// Something that only a bug can cause: thrown by PRIMUS_CHECK, printed with a request to report it.
class BugError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// throw bad_input("{}:{}: …", file, line)
template <typename... Args>
[[nodiscard]] Error bad_input(fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...), ExitCode::kBadInput);
}

template <typename... Args>
[[nodiscard]] Error host_lacks(fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...), ExitCode::kHostLacks);
}

template <typename... Args>
[[nodiscard]] Error run_failed(fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...), ExitCode::kRunFailed);
}

namespace detail {
[[noreturn]] void check_failed(const char* expression, const std::string& values, std::source_location where);
}  // namespace detail

}  // namespace primus

/// PRIMUS_CHECK(rows == expected, rows, expected): an invariant of ours, with the values that broke it.
#define PRIMUS_CHECK(condition, ...)                                                         \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      ::primus::detail::check_failed(#condition, ::primus::detail::show_values(__VA_ARGS__), \
                                     std::source_location::current());                       \
    }                                                                                        \
  } while (false)

namespace primus::detail {
template <typename... Values>
std::string show_values(const Values&... values) {
  std::string text;
  ((text += fmt::format("{}{}", text.empty() ? "" : ", ", values)), ...);
  return text;
}
}  // namespace primus::detail
