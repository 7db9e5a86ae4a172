#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace primus::monitor {

/// A file that grows record by record, each handed to the system at once, so that a kill loses at most the record being
/// written.
///
/// A record that cannot be written (no space left, a quota) does not end the run, whose weights are worth more than
/// its diary: the log says so once, the records wait in memory, and every further `append` tries again. Nothing is
/// lost and nothing doubled when space comes back.
class AppendFile {
 public:
  enum class Mode { kAppend, kNew };

  /// kAppend creates the file when it is missing; kNew wants it missing.
  /// Throws Error (kHostLacks) with the path and the system's reason when the file cannot be opened.
  AppendFile(std::filesystem::path path, Mode mode);
  /// Tries once more to write what waits, and says what is lost if that fails.
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view record);

  const std::filesystem::path& path() const { return path_; }
  /// Bytes that wait for space on the disk.
  std::size_t waiting() const { return waiting_.size(); }

 private:
  /// Writes as much of `waiting_` as the system takes; false when it refused the rest, with errno set.
  bool write_waiting();

  std::filesystem::path path_;
  int fd_ = -1;
  std::string waiting_;
  bool failing_ = false;
};

}  // namespace primus::monitor
