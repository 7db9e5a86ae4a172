#include "monitor/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace primus::monitor {

AppendFile::AppendFile(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  const int fresh = mode == Mode::kNew ? O_EXCL : 0;
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | fresh, 0644);
  if (fd_ < 0) throw host_lacks("{}: cannot open for writing: {}", path_.string(), std::strerror(errno));
}

AppendFile::~AppendFile() {
  if (!write_waiting()) log::error("{}: the last {} bytes could not be written", path_.string(), waiting_.size());
  ::close(fd_);
}

void AppendFile::append(std::string_view record) {
  waiting_ += record;
  if (write_waiting()) {
    if (std::exchange(failing_, false)) log::info("{}: writing again, nothing is missing", path_.string());
  } else if (!std::exchange(failing_, true)) {
    log::error("{}: cannot write: {}; the run goes on, and its rows wait in memory until there is room", path_.string(),
               std::strerror(errno));
  }
}

bool AppendFile::write_waiting() {
  std::size_t done = 0;
  bool refused = false;
  int number = 0;
  while (done < waiting_.size() && !refused) {
    const ssize_t written = ::write(fd_, waiting_.data() + done, waiting_.size() - done);
    if (written > 0) {
      done += static_cast<std::size_t>(written);
    } else if (written == 0 || errno != EINTR) {
      number = errno;
      refused = true;
    }
  }
  waiting_.erase(0, done);
  errno = number;
  return !refused;
}

}  // namespace primus::monitor
