#include "base/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/error.h"

namespace primus {
namespace {

std::string hexadecimal(std::span<const unsigned char> bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

/// A file that several threads read at once.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : path_(path.string()), fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat info {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) throw bad_input("{}: cannot open: {}", path_, std::strerror(errno));
    size_ = static_cast<std::size_t>(info.st_size);
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  std::size_t size() const { return size_; }

  /// The bytes from `offset` on, as many as the buffer holds or the file has.
  std::span<const std::byte> read(std::size_t offset, std::span<std::byte> buffer) const {
    std::size_t got = 0;
    while (got < buffer.size()) {
      const ssize_t came = ::pread(fd_, buffer.data() + got, buffer.size() - got, static_cast<off_t>(offset + got));
      if (came < 0 && errno == EINTR) continue;
      if (came < 0) throw bad_input("{}: cannot read: {}", path_, std::strerror(errno));
      if (came == 0) break;
      got += static_cast<std::size_t>(came);
    }
    return buffer.first(got);
  }

 private:
  std::string path_;
  int fd_;
  std::size_t size_ = 0;
};

}  // namespace

struct Digest::State {
  explicit State(const EVP_MD* algorithm) : kind(algorithm), context(EVP_MD_CTX_new()) {
    if (context == nullptr) throw std::bad_alloc();
    begin();
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void begin() { PRIMUS_CHECK(EVP_DigestInit_ex(context, kind, nullptr) == 1); }

  const EVP_MD* kind;
  EVP_MD_CTX* context;
};

Digest::Digest(DigestKind kind)
    : state_(std::make_unique<State>(kind == DigestKind::kSha1 ? EVP_sha1() : EVP_sha256())) {}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> bytes) {
  PRIMUS_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Digest::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
  unsigned size = 0;
  PRIMUS_CHECK(EVP_DigestFinal_ex(state_->context, value.data(), &size) == 1);
  state_->begin();
  return hexadecimal(std::span(value).first(size));
}

std::string sha256(std::string_view text) {
  Digest digest;
  digest.update(text);
  return digest.finish();
}

void ChunkedDigest::update(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), kChunk - in_chunk_);
    chunk_.update(bytes.first(part));
    bytes = bytes.subspan(part);
    in_chunk_ += part;
    if (in_chunk_ < kChunk) return;
    chunks_.update(chunk_.finish());
    in_chunk_ = 0;
  }
}

std::string ChunkedDigest::finish() {
  if (in_chunk_ > 0) chunks_.update(chunk_.finish());
  in_chunk_ = 0;
  return chunks_.finish();
}

std::string chunked_digest(const std::filesystem::path& path, int threads) {
  const OpenFile file(path);
  const std::size_t count = (file.size() + ChunkedDigest::kChunk - 1) / ChunkedDigest::kChunk;
  std::vector<std::string> parts(count);
  std::atomic<std::size_t> next{0};
  std::exception_ptr error;
  std::mutex mutex;
  const auto work = [&] {
    try {
      Digest digest;
      std::vector<std::byte> buffer(ChunkedDigest::kChunk);
      for (std::size_t i = next++; i < count; i = next++) {
        digest.update(file.read(i * ChunkedDigest::kChunk, buffer));
        parts[i] = digest.finish();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  };
  std::vector<std::jthread> helpers;
  try {
    for (std::size_t i = 1; i < std::min(count, static_cast<std::size_t>(std::max(threads, 1))); ++i) {
      helpers.emplace_back(work);
    }
  } catch (const std::system_error&) {  // the host allows no more threads: these and this one will do
  }
  work();
  helpers.clear();
  if (error) std::rethrow_exception(error);
  Digest chunks;
  for (const std::string& part : parts) chunks.update(part);
  return chunks.finish();
}

}  // namespace primus
