#include "run_primus.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace primus::cli_test {
namespace {

struct Pipe {
  Pipe() {
    if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe");
  }
  std::array<int, 2> ends{};
};

std::string drain(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  ::close(fd);
  return text;
}

}  // namespace

Outcome run_primus(const std::vector<std::string>& arguments, const RunOptions& options) {
  const std::string binary = std::string(PRIMUS_BINARY_DIR) + "/bin/primus";
  std::vector<std::string> words{binary};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const Pipe in;
  const Pipe out;
  const Pipe err;
  const auto begin = std::chrono::steady_clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in.ends[0], STDIN_FILENO);
    ::dup2(out.ends[1], STDOUT_FILENO);
    ::dup2(err.ends[1], STDERR_FILENO);
    for (const Pipe* pipe : {&in, &out, &err}) {
      ::close(pipe->ends[0]);
      ::close(pipe->ends[1]);
    }
    if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(125);
    ::setenv("PRIMUS_ROOT", PRIMUS_SOURCE_DIR, 1);
    ::setenv("PRIMUS_CACHE", "none", 1);
    if (options.before_exec) options.before_exec();
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  ::close(in.ends[0]);
  ::close(out.ends[1]);
  ::close(err.ends[1]);
  Outcome outcome;
  std::thread reader([&] { outcome.err = drain(err.ends[0]); });
  std::thread feeder([&] {
    if (!options.input.empty() && ::write(in.ends[1], options.input.data(), options.input.size()) < 0)
      outcome.status = -2;
    ::close(in.ends[1]);
  });
  std::thread watcher([&] {
    if (options.while_running) options.while_running(pid);
  });
  outcome.out = drain(out.ends[0]);
  reader.join();
  feeder.join();
  watcher.join();
  int status = 0;
  rusage usage{};
  ::wait4(pid, &status, 0, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  outcome.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

Scratch::Scratch() {
  static std::atomic<int> counter{0};
  path_ = std::filesystem::temp_directory_path() /
          ("primus-cli-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
  std::filesystem::remove_all(path_);
  std::filesystem::create_directories(path_);
}

Scratch::~Scratch() {
  std::error_code code;
  std::filesystem::remove_all(path_, code);
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::filesystem::path reference(const std::string& model) {
  return std::filesystem::path(PRIMUS_TEST_DATA) / "reference" / model;
}

}  // namespace primus::cli_test
