#include "hub/repository.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace primus::hub {
namespace {

namespace fs = std::filesystem;

bool is_name(std::string_view text) {
  return !text.empty() && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

/// A link is replaced whole, so that a reader sees the old one or the new one.
void link(const fs::path& target, const fs::path& place) {
  std::error_code ignored;
  if (fs::is_symlink(place, ignored) && fs::read_symlink(place, ignored) == target) return;
  make_directories(place.parent_path());
  const fs::path fresh = place.string() + ".partial-" + std::to_string(::getpid());
  fs::remove(fresh, ignored);
  std::error_code error;
  fs::create_symlink(target, fresh, error);
  if (!error) fs::rename(fresh, place, error);
  if (error) throw host_lacks("{}: cannot make the link: {}", place.string(), error.message());
}

}  // namespace

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.back() == '/') return false;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    const bool plain =
        std::all_of(part.begin(), part.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7F && c != '\\'; });
    if (part.empty() || part == "." || part == ".." || !plain) return false;
    begin = end + 1;
  }
  return true;
}

std::optional<Repository> parse_repository(std::string_view text, Kind kind, std::string* path) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::size_t end = std::min(text.find('/', slash + 1), text.size());
  const std::string_view id = text.substr(0, end), rest = text.substr(end);
  if (!rest.empty() && (path == nullptr || !is_safe_path(rest.substr(1)))) return std::nullopt;
  Repository repository{.kind = kind};
  const std::size_t at = id.find('@');
  repository.name = id.substr(0, at);
  if (at != std::string_view::npos) repository.revision = id.substr(at + 1);
  const std::string_view name = repository.name;
  if (name.size() <= slash) return std::nullopt;  // "org@x/name"
  if (!is_name(name.substr(0, slash)) || !is_name(name.substr(slash + 1)) || !is_name(repository.revision)) {
    return std::nullopt;
  }
  if (path != nullptr) *path = rest.empty() ? "" : rest.substr(1);
  return repository;
}

CachedRepository::CachedRepository(const fs::path& cache, const Repository& repository)
    : revision_(repository.revision) {
  std::string name = (repository.kind == Kind::kModel ? "models--" : "datasets--") + repository.name;
  name.replace(name.find('/'), 1, "--");
  folder_ = cache / name;
  locks_ = cache / ".locks" / name;
}

std::optional<std::string> CachedRepository::commit() const {
  if (is_commit(revision_)) return revision_;
  const fs::path reference = folder_ / "refs" / revision_;
  std::error_code ignored;
  if (!fs::is_regular_file(reference, ignored)) return std::nullopt;
  std::string commit = read_text(reference);
  commit.erase(commit.find_last_not_of(" \n\r\t") + 1);
  return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

fs::path CachedRepository::lock(const std::string& etag) const {
  make_directories(locks_);
  return locks_ / (etag + ".lock");
}

void CachedRepository::publish(const Listing& listing) const {
  for (const RemoteFile& file : listing.files) {
    std::string target = "../../blobs/" + file.etag;
    for (const char c : file.path) {
      if (c == '/') target.insert(0, "../");
    }
    link(target, snapshot(listing.commit) / file.path);
  }
  if (is_commit(revision_)) return;
  make_directories(folder_ / "refs");
  write_text(folder_ / "refs" / revision_, listing.commit);
}

std::vector<std::string> files_of(const fs::path& snapshot) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot, ignored)) {
    if (entry.is_regular_file(ignored)) files.push_back(entry.path().lexically_relative(snapshot).generic_string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace primus::hub
