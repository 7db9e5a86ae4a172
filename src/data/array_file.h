#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"

namespace primus::data {

/// A file that is written from front to back through a buffer. Throws Error (kHostLacks) naming the file and the
/// system's reason when it cannot be written.
class ByteFile {
 public:
  explicit ByteFile(std::filesystem::path path);
  ~ByteFile();
  ByteFile(const ByteFile&) = delete;
  ByteFile& operator=(const ByteFile&) = delete;

  void append(std::span<const std::byte> bytes);
  /// Appends all that was written to `other`, which stays open.
  void append_file(ByteFile& other);
  std::size_t bytes() const { return bytes_; }
  /// Writes what waits and syncs to the disk. Returns the ChunkedDigest of the file.
  std::string finish();

 private:
  void flush();
  void write(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  int fd_ = -1;
  std::vector<std::byte> buffer_;
  std::size_t bytes_ = 0;
  ChunkedDigest digest_;
};

/// An array of plain values on its way into a file.
template <typename T>
class FileArray {
 public:
  explicit FileArray(const std::filesystem::path& path) : file_(path) {}

  void append(std::span<const T> values) { file_.append(std::as_bytes(values)); }
  void append_all(FileArray& other) { file_.append_file(other.file_); }
  void push_back(const T& value) { append({&value, 1}); }
  std::size_t size() const { return file_.bytes() / sizeof(T); }
  ByteFile& file() { return file_; }

 private:
  ByteFile file_;
};

}  // namespace primus::data
