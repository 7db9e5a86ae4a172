#pragma once

#include <filesystem>
#include <string>

namespace primus::data {

/// Digests of files that were read before, so that a large file need not be read again to know that it is the same: a
/// file that has the device, inode, size and times (of its content and of its inode) that it had then. A file that was
/// changed just before it was read is read again the next time, since its times could hide a second change.
class DigestMemo {
 public:
  /// Notes are kept in `folder`; empty: nowhere.
  explicit DigestMemo(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// chunked_digest(file, threads), from the notes or the file. Throws Error when the file cannot be read.
  std::string digest(const std::filesystem::path& file, int threads) const;
  /// Notes the digest of a file that this process alone has just written.
  void note(const std::filesystem::path& file, const std::string& digest) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace primus::data
