#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace primus {
namespace {

namespace fs = std::filesystem;

std::string reason(int number) { return std::strerror(number); }

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw run_failed("{}: cannot open to sync: {}", path.string(), reason(errno));
  const int result = ::fsync(fd);
  const int number = errno;
  ::close(fd);
  if (result != 0) throw run_failed("{}: cannot sync to disk: {}", path.string(), reason(number));
}

// What stands beside a file or folder while it is replaced: the new one, and the old one that stepped aside.
constexpr std::string_view kPartial = ".partial-";
constexpr std::string_view kOld = ".old-";

fs::path beside(const fs::path& path, std::string_view mark) {
  return fs::path(fmt::format("{}{}{}", path.string(), mark, ::getpid()));
}

bool is_gone(std::string_view process) {
  pid_t id = 0;
  const auto [end, code] = std::from_chars(process.data(), process.data() + process.size(), id);
  if (code != std::errc() || end != process.data() + process.size() || id <= 0) return false;
  return id != ::getpid() && ::kill(id, 0) != 0 && errno == ESRCH;
}

/// Whether `path` is "<name>.partial-<process>" or "<name>.old-<process>" of a name of ours and a process that is gone.
bool is_abandoned(const fs::path& path, const std::function<bool(std::string_view name)>& is_ours) {
  const std::string file = path.filename().string();
  for (const std::string_view mark : {kPartial, kOld}) {
    const std::size_t at = file.rfind(mark);
    if (at == std::string::npos || !is_ours(std::string_view(file).substr(0, at))) continue;
    // what stepped aside and was not followed by the new one is all that there is
    if (mark == kOld && !fs::exists(path.parent_path() / file.substr(0, at))) continue;
    return is_gone(std::string_view(file).substr(at + mark.size()));
  }
  return false;
}

/// Moves the folder `fresh` to `goal`. What stands there is swapped out in the same step and then removed, since a
/// rename cannot replace a folder that is not empty.
void put_in_place(const fs::path& fresh, const fs::path& goal) {
  if (!fs::exists(goal)) return fs::rename(fresh, goal);
  std::error_code code;
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, goal.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(fresh, code);
    return;
  }
  if (errno != EINVAL && errno != ENOSYS) {
    throw fs::filesystem_error("rename", fresh, goal, std::error_code(errno, std::generic_category()));
  }
  // a file system that cannot swap (some network ones): the old folder steps aside, and comes back on failure
  const fs::path old = beside(goal, kOld);
  fs::rename(goal, old);
  fs::rename(fresh, goal, code);
  if (code) {
    const std::error_code why = code;
    fs::rename(old, goal, code);
    throw fs::filesystem_error("rename", fresh, goal, why);
  }
  fs::remove_all(old, code);
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw bad_input("{}: cannot open: {}", path.string(), reason(errno));
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw bad_input("{}: not a regular file", path.string());
  }
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ > 0) {
    data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data_ == MAP_FAILED) {
      data_ = nullptr;
      const int number = errno;
      ::close(fd);
      throw bad_input("{}: cannot map into memory: {}", path.string(), reason(number));
    }
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string read_text(const fs::path& path) {
  const MappedFile file(path);
  return std::string(file.text());
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), partial_(beside(path_, kPartial)) {
  fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw run_failed("{}: cannot create: {}", path_.string(), reason(errno));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(partial_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  while (left > 0) {
    const ssize_t written = ::write(fd_, at, left);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw run_failed("{}: cannot write after {} bytes: {}", path_.string(), size_, reason(errno));
    }
    at += written;
    left -= static_cast<std::size_t>(written);
    size_ += static_cast<std::uint64_t>(written);
  }
}

void AtomicFile::finish() {
  if (::fsync(fd_) != 0) throw run_failed("{}: cannot sync to disk: {}", path_.string(), reason(errno));
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0 || ::rename(partial_.c_str(), path_.c_str()) != 0) {
    const int number = errno;
    ::unlink(partial_.c_str());
    throw run_failed("{}: cannot put the new file in place: {}", path_.string(), reason(number));
  }
}

FileLock::FileLock(const fs::path& path, const std::function<void()>& on_wait) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) throw host_lacks("{}: cannot create the lock file: {}", path.string(), reason(errno));
  try {
    int result = ::flock(fd_, LOCK_EX | LOCK_NB);
    if (result != 0 && errno == EWOULDBLOCK) {
      if (on_wait) on_wait();
      do {
        result = ::flock(fd_, LOCK_EX);
      } while (result != 0 && errno == EINTR);
    }
    if (result != 0) throw host_lacks("{}: cannot lock: {}", path.string(), reason(errno));
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

FileLock::~FileLock() { ::close(fd_); }

void write_text(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.finish();
}

void make_directories(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) throw host_lacks("{}: cannot create the directory: {}", path.string(), code.message());
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    throw host_lacks("{}: cannot write into the directory: {}", path.string(), std::strerror(errno));
  }
}

void replace_directory(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  const fs::path goal = path.has_filename() ? path : path.parent_path();  // without a slash at the end
  const fs::path parent = goal.parent_path().empty() ? fs::path(".") : goal.parent_path();
  const fs::path partial = beside(goal, kPartial);
  make_directories(parent);
  std::error_code code;
  fs::remove_all(partial, code);
  try {
    make_directories(partial);
    fill(partial);
    for (const auto& entry : fs::recursive_directory_iterator(partial)) sync_path(entry.path());
    sync_path(partial);
    put_in_place(partial, goal);
    sync_path(parent);
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(partial, code);
    throw run_failed("{}: cannot write the directory: {}", goal.string(), error.code().message());
  } catch (...) {
    fs::remove_all(partial, code);
    throw;
  }
}

void remove_abandoned(const fs::path& directory, const std::function<bool(std::string_view name)>& is_ours) {
  std::vector<fs::path> abandoned;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(directory, code)) {
    if (is_abandoned(entry.path(), is_ours)) abandoned.push_back(entry.path());
  }
  for (const fs::path& path : abandoned) {
    fs::remove_all(path, code);
    if (code) log::warning("{}: cannot remove: {}", path.string(), code.message());
  }
}

}  // namespace primus
