#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

/// Runs the real binary as a user does and keeps what it said.
namespace primus::cli_test {

struct Outcome {
  int status = -1;  // exit status; 128 + signal when a signal ended it
  std::string out;
  std::string err;
  double seconds = 0.0;      // wall
  double cpu_seconds = 0.0;  // user and system
};

struct RunOptions {
  std::string directory;                       // working directory; empty: this one
  std::string input;                           // standard input
  std::function<void()> before_exec;           // in the child
  std::function<void(int pid)> while_running;  // in this process, once the child runs
};

Outcome run_primus(const std::vector<std::string>& arguments, const RunOptions& options = {});

/// A folder that is empty at first and gone at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

void write(const std::filesystem::path& path, const std::string& text);
std::string read(const std::filesystem::path& path);
std::vector<std::string> lines_of(const std::string& text);

/// tests/data/reference/<model>
std::filesystem::path reference(const std::string& model);

}  // namespace primus::cli_test
