#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "hub/download.h"
#include "hub/hub.h"

namespace primus::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNamedFiles = 8;

bool has_any(const fs::path& snapshot, const Wanted& wanted) {
  const std::vector<std::string> files = files_of(snapshot);
  try {
    return !files.empty() && !wanted.choose(files).empty();
  } catch (const Error&) {
    return false;  // of no use: other files of the repository may be
  }
}

/// The wanted part of a listing, config.json last: who looks for a whole snapshot in the cache looks for that file.
void keep_wanted(Listing& listing, const Wanted& wanted, const std::string& title) {
  std::vector<std::string> paths;
  paths.reserve(listing.files.size());
  for (const RemoteFile& file : listing.files) paths.push_back(file.path);
  const std::vector<std::string> chosen = wanted.choose(paths);
  if (chosen.empty()) {
    const std::string more = paths.size() > kNamedFiles ? ", …" : "";
    paths.resize(std::min(paths.size(), kNamedFiles));
    throw bad_input("{}: none of its files is of use here; it has {}{}", title, fmt::join(paths, ", "), more);
  }
  std::erase_if(listing.files, [&](const RemoteFile& file) {
    return std::find(chosen.begin(), chosen.end(), file.path) == chosen.end();
  });
  std::stable_partition(listing.files.begin(), listing.files.end(),
                        [](const RemoteFile& file) { return file.path != "config.json"; });
}

}  // namespace

fs::path snapshot(const Repository& repository, const Wanted& wanted, const Settings& settings) {
  const CachedRepository cached(settings.cache, repository);
  const RemoteRepository remote(repository, settings);
  const std::optional<std::string> commit = cached.commit();
  fs::path known = commit ? cached.snapshot(*commit) : fs::path();
  if (commit && wanted.suffices && wanted.suffices(known)) return known;
  const bool is_usable = commit && !wanted.suffices && has_any(known, wanted);
  if (settings.offline) {
    if (is_usable) return known;
    throw bad_input("{}: not in the Hugging Face cache ({}), and HF_HUB_OFFLINE forbids to download it", remote.title(),
                    cached.folder().string());
  }
  Listing listing;
  try {
    Settings asking = settings;
    if (is_usable) asking.attempts = 1;
    listing = RemoteRepository(repository, asking).list(commit.value_or(repository.revision));
  } catch (const Error& error) {
    if (!is_usable || error.code() != ExitCode::kHostLacks) throw;
    log::warning("{}. Taking what is in the cache: {}", error.what(), known.string());
    return known;
  }
  keep_wanted(listing, wanted, remote.title());
  download(listing, cached, remote, settings);
  cached.publish(listing);
  return cached.snapshot(listing.commit);
}

}  // namespace primus::hub
