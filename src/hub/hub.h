#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Files of the Hugging Face Hub, in the cache that the huggingface_hub library uses as well.
namespace primus::hub {

struct Settings {
  std::string endpoint = "https://huggingface.co";  // without a slash at the end
  std::string token;                                // goes to the endpoint alone, and into no message
  std::filesystem::path cache;                      // holds models--org--name and datasets--org--name
  bool offline = false;
  int connections = 4;  // files at once
  /// Tries of one request without progress between them, and the wait before the second; each later one doubles it.
  int attempts = 6;
  std::chrono::milliseconds first_wait{1000};
  /// A server that asks for a longer wait (Retry-After) is not waited for.
  std::chrono::seconds longest_wait{300};
  /// A transfer that brings nothing for so long has failed.
  std::chrono::seconds stall{30};
  /// Called from the downloading threads, with bytes there and bytes wanted.
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;
};

/// HF_ENDPOINT, HF_TOKEN (else the file at HF_TOKEN_PATH or HF_HOME/token), HF_HUB_OFFLINE, HF_HUB_CACHE, HF_HOME,
/// XDG_CACHE_HOME, with huggingface_hub's meanings and defaults.
Settings settings_from_environment();

enum class Kind { kModel, kDataset };

struct Repository {
  Kind kind = Kind::kModel;
  std::string name;  // "org/name"
  std::string revision = "main";
};

/// "org/name" or "org/name@revision", with "/path" behind it when `path` is given; nothing when `text` is neither.
std::optional<Repository> parse_repository(std::string_view text, Kind kind, std::string* path = nullptr);

struct Wanted {
  /// Of the repository's files (relative paths with '/'), those to have. May throw Error when they are of no use.
  std::function<std::vector<std::string>(const std::vector<std::string>& paths)> choose;
  /// Whether a snapshot in the cache suffices, so that the hub need not be asked. Empty: it is asked for the list of
  /// files of the cached commit, and only when it cannot be reached, what is in the cache is taken.
  std::function<bool(const std::filesystem::path& snapshot)> suffices;
};

/// The folder snapshots/<commit> with the wanted files, and maybe others. What the cache lacks is downloaded, several
/// files at once; what was broken off goes on from where it ended. Size and checksum of every file are checked. The
/// snapshot gets its links only once all files are there. Safe with several processes (huggingface_hub's, too) at once.
/// Throws Error: kBadInput when the hub says no (401, 403, 404) or has none of the wanted files, or when the cache
/// lacks them in offline mode; kHostLacks when it cannot be reached, keeps failing, sends something else than it says,
/// or the disk is full.
std::filesystem::path snapshot(const Repository& repository, const Wanted& wanted, const Settings& settings);

/// The files of a snapshot, as paths relative to it, sorted.
std::vector<std::string> files_of(const std::filesystem::path& snapshot);

}  // namespace primus::hub
