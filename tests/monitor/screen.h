#pragma once

#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

namespace primus::monitor {

/// A file that stands for a terminal: `drain` gives what was written since the last time.
class Screen {
 public:
  Screen() : file_(std::tmpfile()) {}
  ~Screen() { std::fclose(file_); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  std::FILE* file() const { return file_; }
  std::string drain() {
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t got = 0; (got = ::pread(::fileno(file_), buffer.data(), buffer.size(), read_)) > 0; read_ += got) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  std::FILE* file_;
  off_t read_ = 0;
};

}  // namespace primus::monitor
