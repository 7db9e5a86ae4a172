#include "ops/gpu/gemm_cache.h"

#include <cctype>
#include <cstdlib>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace primus::ops::gpu {
namespace {

namespace fs = std::filesystem;

fs::path cache_folder() {
  if (const char* folder = std::getenv("PRIMUS_GEMM_CACHE")) return folder;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return fs::path(cache) / "primus";
  }
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? fs::path() : fs::path(home) / ".cache/primus";
}

fs::path cache_path(const std::string& name) {
  const fs::path folder = cache_folder();
  if (folder.empty()) return {};
  std::string file = "gemm_" + name + ".txt";
  for (char& c : file) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_') c = '-';
  }
  return folder / file;
}

}  // namespace

GemmCache::GemmCache(const std::string& name) : GemmCache(cache_path(name)) {}

GemmCache::GemmCache(const fs::path& path) : path_(path), entries_(read(path)) {}

GemmCache::Entries GemmCache::read(const fs::path& path) {
  Entries entries;
  std::error_code ignored;
  if (path.empty() || !fs::is_regular_file(path, ignored)) return entries;
  std::string text;
  try {
    text = read_text(path);
  } catch (const Error& error) {
    log::debug("matrix products are timed again: {}", error.what());
    return entries;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key;
    Entry entry;
    words >> key >> std::hex;
    for (std::uint64_t& word : entry.algorithm) words >> word;
    words >> std::dec >> entry.seconds;
    if (words && entry.seconds > 0.0) entries.insert_or_assign(key, entry);
  }
  return entries;
}

std::optional<GemmCache::Algorithm> GemmCache::find(const std::string& key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  return found->second.algorithm;
}

void GemmCache::put(const std::string& key, const Algorithm& algorithm, double seconds) {
  entries_.insert_or_assign(key, Entry{algorithm, seconds});
  changed_ = true;
}

void GemmCache::save() {
  if (!changed_ || path_.empty()) return;
  std::map<std::string, Entry> all;  // in order, so that files can be compared
  for (const auto& [key, entry] : read(path_)) all.insert_or_assign(key, entry);
  for (const auto& [key, entry] : entries_) all.insert_or_assign(key, entry);
  std::string text;
  for (const auto& [key, entry] : all) {
    text += key;
    for (const std::uint64_t word : entry.algorithm) text += fmt::format(" {:x}", word);
    text += fmt::format(" {:.3e}\n", entry.seconds);
  }
  try {
    make_directories(path_.parent_path());
    write_text(path_, text);
    changed_ = false;
  } catch (const Error& error) {
    log::debug("the choice of matrix products is not kept: {}", error.what());
  }
}

}  // namespace primus::ops::gpu
