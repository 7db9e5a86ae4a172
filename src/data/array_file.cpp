#include "data/array_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"

namespace primus::data {
namespace {

constexpr std::size_t kBuffer = 1u << 20;

}  // namespace

ByteFile::ByteFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw host_lacks("{}: cannot create: {}", path_.string(), std::strerror(errno));
}

ByteFile::~ByteFile() { ::close(fd_); }

void ByteFile::append(std::span<const std::byte> bytes) {
  bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() > kBuffer) {
    write(bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void ByteFile::append_file(ByteFile& other) {
  other.flush();
  if (other.bytes_ > 0) append(MappedFile(other.path_).bytes());
}

std::string ByteFile::finish() {
  flush();
  if (::fsync(fd_) != 0) throw host_lacks("{}: cannot sync to disk: {}", path_.string(), std::strerror(errno));
  return digest_.finish();
}

void ByteFile::flush() {
  write(buffer_);
  buffer_.clear();
}

void ByteFile::write(std::span<const std::byte> bytes) {
  digest_.update(bytes);
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw host_lacks("{}: cannot write: {}", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace primus::data
