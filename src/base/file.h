#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace primus {

/// A file mapped read-only for as long as the object lives. Empty files give an empty span.
class MappedFile {
 public:
  /// Throws Error naming the path when it is missing, a directory or unreadable.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The whole file as text. Throws Error naming the path.
std::string read_text(const std::filesystem::path& path);

/// Writes a new file beside `path` and renames it over `path` when `finish` succeeds, so that a reader sees the old
/// file or the new one. Every failure (permission, no space, short write) is an Error with ExitCode::kRunFailed that
/// names the path and the system's reason; the destructor removes an unfinished file.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  std::uint64_t size() const { return size_; }
  /// Flushes to the disk (fsync) and renames.
  void finish();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

/// The only holder of `path` among all processes of this host (flock), for as long as the object lives or until the
/// process ends in whatever way. The file is made when there is none, and stays.
class FileLock {
 public:
  /// Waits; `on_wait` is called once when another process holds the lock, and may throw instead of waiting. Throws
  /// Error (kHostLacks) when the file cannot be made or locked.
  explicit FileLock(const std::filesystem::path& path, const std::function<void()>& on_wait = {});
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

/// AtomicFile in one call.
void write_text(const std::filesystem::path& path, std::string_view text);

/// Creates `path` with its parents. Throws Error (kHostLacks) with the system's reason, also when it is there but may
/// not be written into.
void make_directories(const std::filesystem::path& path);

/// Makes a directory whole or not at all: `fill` writes into a fresh folder beside `path`, which then replaces `path`.
/// The folder and its files are synced before the rename. On failure the partial folder is removed and the error goes
/// on.
void replace_directory(const std::filesystem::path& path,
                       const std::function<void(const std::filesystem::path& folder)>& fill);

/// Removes what AtomicFile and replace_directory of processes that are gone (killed, or the power failed) left in
/// `directory`, of the names that `is_ours` answers true for. Failures are warnings.
void remove_abandoned(const std::filesystem::path& directory,
                      const std::function<bool(std::string_view name)>& is_ours);

}  // namespace primus
