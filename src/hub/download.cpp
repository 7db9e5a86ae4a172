#include "hub/download.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace primus::hub {
namespace {

namespace fs = std::filesystem;

/// What the threads of one download share.
struct Shared {
  const CachedRepository& cached;
  const RemoteRepository& remote;
  const Settings& settings;
  const std::string& commit;
  std::int64_t total = 0;
  std::atomic<std::int64_t> done{0};
  std::atomic<bool> cancelled{false};

  void advance(std::int64_t bytes) {
    done += bytes;
    if (settings.on_progress) settings.on_progress(done, total);
  }
};

std::int64_t size_of(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? -1 : static_cast<std::int64_t>(size);
}

bool has_blob(const CachedRepository& cached, const RemoteFile& file) {
  if (file.etag.empty()) return false;
  const std::int64_t size = size_of(cached.blob(file.etag));
  return size >= 0 && (file.size < 0 || size == file.size);
}

/// The SHA-256 of the content, or the SHA-1 that git gives it, by the length of the etag; nothing when it is neither.
std::string digest_like(const std::string& etag, const MappedFile& content) {
  Digest digest(etag.size() == 40 ? DigestKind::kSha1 : DigestKind::kSha256);
  if (etag.size() == 40) digest.update(fmt::format("blob {}", content.bytes().size()) + '\0');
  digest.update(content.bytes());
  return digest.finish();
}

bool is_digest(const std::string& etag) {
  return (etag.size() == 40 || etag.size() == 64) && etag.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// "bytes 100-199/200" -> 100
std::int64_t first_byte(const std::string& content_range) {
  const std::string_view begin = "bytes ";
  std::int64_t first = -1;
  if (content_range.starts_with(begin)) {
    std::from_chars(content_range.data() + begin.size(), content_range.data() + content_range.size(), first);
  }
  return first;
}

/// The part of a file that has come, blobs/<etag>.incomplete, open for more. huggingface_hub calls it the same.
class PartialFile {
 public:
  explicit PartialFile(fs::path path) : path_(std::move(path)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) throw host_lacks("{}: cannot create: {}", path_.string(), std::strerror(errno));
    size_ = size_of(path_);
  }
  ~PartialFile() { ::close(fd_); }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  std::int64_t size() const { return size_; }
  const fs::path& path() const { return path_; }

  void write(std::span<const char> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw host_lacks("{}: cannot write: {}", path_.string(), std::strerror(errno));
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      size_ += written;
    }
  }

  void clear() {
    if (::ftruncate(fd_, 0) != 0) throw host_lacks("{}: cannot empty: {}", path_.string(), std::strerror(errno));
    size_ = 0;
  }

  void finish(const fs::path& place) const {
    std::error_code error;
    if (::fsync(fd_) != 0) throw host_lacks("{}: cannot sync to disk: {}", path_.string(), std::strerror(errno));
    fs::rename(path_, place, error);
    if (error) throw host_lacks("{}: cannot put it in place: {}", place.string(), error.message());
  }

 private:
  fs::path path_;
  int fd_ = -1;
  std::int64_t size_ = 0;
};

/// Brings one file.
class FileDownload {
 public:
  FileDownload(const RemoteFile& file, Shared& shared, HttpClient& client)
      : file_(file), shared_(shared), client_(client), what_(fmt::format("{}: {}", shared.remote.title(), file.path)) {}

  void run() {
    const FileLock lock(shared_.cached.lock(file_.etag),
                        [this] { log::info("{}: another process downloads it: waiting", what_); });
    if (has_blob(shared_.cached, file_)) {
      shared_.advance(std::max<std::int64_t>(file_.size, 0));
      return;
    }
    make_directories(shared_.cached.folder() / "blobs");
    PartialFile partial(shared_.cached.blob(file_.etag + ".incomplete"));
    shared_.advance(partial.size());
    furthest_ = partial.size();
    std::string found;
    for (int tries = 0; tries < 2; ++tries) {
      fetch(partial);
      if (shared_.cancelled) return;
      found = what_is_wrong(partial);
      if (found.empty()) return partial.finish(shared_.cached.blob(file_.etag));
      log::warning("{}: {}; downloading it again", what_, found);
      start_again(partial);
      furthest_ = 0;
    }
    std::error_code ignored;
    fs::remove(partial.path(), ignored);
    throw host_lacks("{}: {}, twice: the hub (or what stands before it) sends something else than it lists", what_,
                     found);
  }

 private:
  void start_again(PartialFile& partial) {
    shared_.advance(-partial.size());
    partial.clear();
  }

  void fetch(PartialFile& partial) {
    if (file_.size >= 0 && partial.size() == file_.size) return;
    if (file_.size >= 0 && partial.size() > file_.size) start_again(partial);
    const std::string url = shared_.remote.url_of(file_.path, shared_.commit);
    std::exception_ptr broken;  // must not pass through the C library
    const auto receive = [&](const Response& response, std::span<const char> bytes) {
      try {
        return take(partial, response, bytes);
      } catch (...) {
        broken = std::current_exception();
        return false;
      }
    };
    const Response response = with_retries(shared_.settings, shared_.cancelled, what_, [&] {
      receiving_ = too_long_ = false;
      Response answer = client_.receive(url, partial.size(), receive);
      if (broken) std::rethrow_exception(broken);
      answer.progressed = partial.size() > furthest_;  // bytes that came before do not count twice
      furthest_ = std::max(furthest_, partial.size());
      if (too_long_) return Response{.status = 200};  // the caller sees that its size is wrong
      if (answer.status == 416) {                     // what we have is no beginning of the file
        start_again(partial);
        answer.failure = "the server has no such range";
      }
      return answer;
    });
    if (!shared_.cancelled && !response.ok()) shared_.remote.refuse(response, what_);
  }

  bool take(PartialFile& partial, const Response& response, std::span<const char> bytes) {
    if (!receiving_) {
      receiving_ = true;
      const bool goes_on = response.status == 206 && first_byte(response.header("content-range")) == partial.size();
      if (!goes_on && partial.size() > 0) start_again(partial);
      if (!goes_on && response.status == 206) return false;  // another part than was asked for
    }
    too_long_ = file_.size >= 0 && partial.size() + static_cast<std::int64_t>(bytes.size()) > file_.size;
    if (too_long_) return false;
    partial.write(bytes);
    shared_.advance(static_cast<std::int64_t>(bytes.size()));
    return true;
  }

  std::string what_is_wrong(const PartialFile& partial) {
    if (too_long_) return fmt::format("more than the {} bytes that it should have", file_.size);
    if (file_.size >= 0 && partial.size() != file_.size) {
      return fmt::format("{} bytes instead of {}", partial.size(), file_.size);
    }
    if (!is_digest(file_.etag)) return "";
    const std::string digest = digest_like(file_.etag, MappedFile(partial.path()));
    if (digest == file_.etag) return "";
    return fmt::format("its checksum is {} instead of {}", digest, file_.etag);
  }

  const RemoteFile& file_;
  Shared& shared_;
  HttpClient& client_;
  std::string what_;
  bool receiving_ = false;
  bool too_long_ = false;
  std::int64_t furthest_ = 0;
};

/// Runs `work(file, client)` over the files, several at once. The first error ends all.
void for_each_file(std::vector<RemoteFile*> files, Shared& shared,
                   const std::function<void(RemoteFile&, HttpClient&)>& work) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    try {
      HttpClient client(shared.settings, shared.cancelled);
      for (std::size_t i = next++; i < files.size() && !shared.cancelled; i = next++) work(*files[i], client);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      shared.cancelled = true;
    }
  };
  const auto threads = std::min(files.size(), static_cast<std::size_t>(std::max(shared.settings.connections, 1)));
  std::vector<std::jthread> pool;
  for (std::size_t i = 0; i < threads; ++i) pool.emplace_back(run);
  pool.clear();
  if (error) std::rethrow_exception(error);
}

std::vector<RemoteFile*> missing_files(Listing& listing, const CachedRepository& cached) {
  std::vector<RemoteFile*> missing;
  for (RemoteFile& file : listing.files) {
    if (!has_blob(cached, file)) missing.push_back(&file);
  }
  // the largest first, so that no thread is left with it at the end
  std::stable_sort(missing.begin(), missing.end(),
                   [](const RemoteFile* a, const RemoteFile* b) { return a->size > b->size; });
  return missing;
}

void check_space(std::int64_t bytes, const CachedRepository& cached, const std::string& title) {
  make_directories(cached.folder());
  std::error_code error;
  const fs::space_info space = fs::space(cached.folder(), error);
  if (error || static_cast<std::int64_t>(space.available) >= bytes) return;
  throw host_lacks("{}: {:.2f} GB are to be downloaded, and {} has {:.2f} GB left. Free some, or set HF_HUB_CACHE",
                   title, static_cast<double>(bytes) * 1e-9, cached.folder().string(),
                   static_cast<double>(space.available) * 1e-9);
}

}  // namespace

void download(Listing& listing, const CachedRepository& cached, const RemoteRepository& remote,
              const Settings& settings) {
  Shared shared{.cached = cached, .remote = remote, .settings = settings, .commit = listing.commit};
  std::vector<RemoteFile*> unknown;
  for (RemoteFile& file : listing.files) {
    if (file.etag.empty()) unknown.push_back(&file);
  }
  for_each_file(unknown, shared, [&](RemoteFile& file, HttpClient& client) {
    file = remote.look_up(file, listing.commit, client, shared.cancelled);
  });

  const std::vector<RemoteFile*> missing = missing_files(listing, cached);
  if (missing.empty()) return;
  std::int64_t to_come = 0;
  for (const RemoteFile* file : missing) {
    shared.total += std::max<std::int64_t>(file->size, 0);
    const std::int64_t has = size_of(cached.blob(file->etag + ".incomplete"));
    to_come += std::max<std::int64_t>(file->size - std::max<std::int64_t>(has, 0), 0);
  }
  check_space(to_come, cached, remote.title());
  const std::string count = missing.size() == 1 ? "a file" : fmt::format("{} files", missing.size());
  log::info("{}: downloading {}, {:.1f} MB, from {} to {}", remote.title(), count, static_cast<double>(to_come) * 1e-6,
            settings.endpoint, cached.folder().string());
  for_each_file(missing, shared,
                [&](RemoteFile& file, HttpClient& client) { FileDownload(file, shared, client).run(); });
}

}  // namespace primus::hub
