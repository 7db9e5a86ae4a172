#include "data/digest_memo.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"

namespace primus::data {
namespace {

namespace fs = std::filesystem;

/// Longer than the steps of any file system's clock.
constexpr std::int64_t kSettled = 2'000'000'000;  // ns

std::int64_t nanoseconds(const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return nanoseconds(time);
}

/// What changes when the file does.
std::string identity(const struct stat& info) {
  return fmt::format("{} {} {} {} {}", info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim),
                     nanoseconds(info.st_ctim));
}

struct Note {
  std::string identity;
  std::string digest;
};

Note read_note(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return {};
  const std::string text = read_text(path);
  const auto line = text.find('\n');
  if (line == std::string::npos || text.size() != line + 1 + sha256("").size()) return {};
  return {text.substr(0, line), text.substr(line + 1)};
}

fs::path place_of(const fs::path& folder, const fs::path& file) {
  std::error_code ignored;
  return folder / sha256(fs::absolute(file, ignored).string());
}

void write_note(const fs::path& place, const Note& note) {
  try {
    make_directories(place.parent_path());
    write_text(place, note.identity + "\n" + note.digest);
  } catch (const Error&) {  // it only costs time
  }
}

}  // namespace

std::string DigestMemo::digest(const fs::path& file, int threads) const {
  struct stat info {};
  if (folder_.empty() || ::stat(file.c_str(), &info) != 0) return chunked_digest(file, threads);
  const std::string wanted = identity(info);
  const fs::path place = place_of(folder_, file);
  try {
    if (Note note = read_note(place); note.identity == wanted) return note.digest;
  } catch (const Error&) {  // unreadable: as if there were none
  }
  const std::int64_t begin = now();
  std::string digest = chunked_digest(file, threads);
  const std::int64_t changed = std::max(nanoseconds(info.st_mtim), nanoseconds(info.st_ctim));
  if (begin - changed >= kSettled) write_note(place, {wanted, digest});
  return digest;
}

void DigestMemo::note(const fs::path& file, const std::string& digest) const {
  struct stat info {};
  if (folder_.empty() || ::stat(file.c_str(), &info) != 0) return;
  write_note(place_of(folder_, file), {identity(info), digest});
}

}  // namespace primus::data
