#include "data/cache.h"

#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace primus::data {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The set, or nothing when there is none or it is no good, which is told at `level`.
std::optional<StoredSet> open(const fs::path& folder, const std::string& key, const std::vector<std::string>& files,
                              const DigestMemo& memo, int threads, log::Level level) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return std::nullopt;
  try {
    StoredSet stored = open_token_set(folder, key, files, memo, threads);
    log::debug("prepared data taken from {}", folder.string());
    return stored;
  } catch (const Error& error) {
    log::write(level,
               fmt::format("the prepared data in the cache is not usable, preparing it again: {}", error.what()));
    return std::nullopt;
  }
}

/// What processes left that were killed while they built this set. Only for the holder of its lock.
void remove_remains(const fs::path& folder) {
  const std::string begin = folder.filename().string() + ".partial-";
  std::error_code ignored;
  std::vector<fs::path> remains;
  for (const auto& entry : fs::directory_iterator(folder.parent_path(), ignored)) {
    if (entry.path().filename().string().starts_with(begin)) remains.push_back(entry.path());
  }
  for (const fs::path& path : remains) fs::remove_all(path, ignored);
}

}  // namespace

StoredSet TokenCache::find_or_build(const std::string& key, const std::vector<std::string>& files, int threads,
                                    const std::function<DataSummary(RowSink&)>& build) const {
  const fs::path folder = folder_ / key;
  if (auto stored = open(folder, key, files, memo_, threads, log::Level::kDebug)) return std::move(*stored);
  make_directories(folder_);
  const FileLock lock(folder.string() + ".lock",
                      [] { log::info("another process prepares the same data: waiting for it"); });
  remove_remains(folder);
  if (auto stored = open(folder, key, files, memo_, threads, log::Level::kWarning)) return std::move(*stored);

  const fs::path partial = folder.string() + fmt::format(".partial-{}", ::getpid());
  std::error_code ignored;
  try {
    make_directories(partial);
    TokenSetWriter writer(partial);
    const DataSummary summary = build(writer);
    writer.finish(key, summary);
    fs::remove_all(folder);  // one that is damaged
    fs::rename(partial, folder);
    note_digests(folder, key, memo_);
    log::debug("prepared data kept in {}", folder.string());
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(partial, ignored);
    throw host_lacks("{}: cannot put the prepared data in place: {}", folder.string(), error.code().message());
  } catch (...) {
    fs::remove_all(partial, ignored);
    throw;
  }
  return open_token_set(folder, key, files, memo_, threads);
}

fs::path default_token_cache() {
  const std::string named = environment("PRIMUS_CACHE");
  if (named == "none") return {};
  if (!named.empty()) return fs::path(named) / "tokens";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "primus/tokens";
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".cache/primus/tokens";
}

}  // namespace primus::data
