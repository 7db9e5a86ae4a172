#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/training_state.h"

// A directory of states: iter_0000050/, iter_0000100/, and `latest`, a file that names the newest.
namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "iter_";
constexpr const char* kLatest = "latest";
constexpr std::int64_t kNone = -1;

/// The iteration in a state's name; kNone for other names.
std::int64_t iteration_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return kNone;
  name.remove_prefix(kPrefix.size());
  std::int64_t iteration = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), iteration);
  const bool whole = code == std::errc() && end == name.data() + name.size() && !name.empty() && name.front() != '-';
  return whole ? iteration : kNone;
}

/// What `latest` names, kNone when it is not there or names no state.
std::int64_t latest_iteration(const fs::path& directory) {
  constexpr std::uintmax_t kMaxBytes = 256;
  std::error_code code;
  const fs::path path = directory / kLatest;
  if (!fs::is_regular_file(path, code) || fs::file_size(path, code) > kMaxBytes) return kNone;
  std::string name = read_text(path);
  while (!name.empty() && (name.back() == '\n' || name.back() == '\r' || name.back() == ' ')) name.pop_back();
  const std::int64_t iteration = iteration_of(name);
  if (iteration == kNone)
    log::warning("{}: does not name a training state; the newest one is looked for", path.string());
  return iteration;
}

struct Found {
  std::int64_t iteration;
  fs::path path;
};

/// By iteration, newest first.
std::vector<Found> find_states(const fs::path& directory) {
  std::vector<Found> states;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(directory, code)) {
    const std::int64_t iteration = iteration_of(entry.path().filename().string());
    if (iteration != kNone && entry.is_directory(code)) states.push_back({iteration, entry.path()});
  }
  std::sort(states.begin(), states.end(), [](const Found& a, const Found& b) { return a.iteration > b.iteration; });
  return states;
}

void remove_folder(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) log::warning("{}: cannot remove: {}", path.string(), code.message());
}

}  // namespace

std::string state_name(std::int64_t iteration) { return fmt::format("{}{:07}", kPrefix, iteration); }

fs::path save_checkpoint(const fs::path& directory, const TrainingState& state,
                         const model::ParameterRegistry& registry, Stream& stream) {
  const std::string name = state_name(state.iteration);
  save_state(directory / name, state, registry, stream);
  write_text(directory / kLatest, name + "\n");
  return directory / name;
}

std::int64_t count_states(const fs::path& directory) {
  return static_cast<std::int64_t>(find_states(directory).size());
}

std::optional<VerifiedState> find_latest(const fs::path& directory) {
  const std::int64_t latest = latest_iteration(directory);
  std::vector<Found> states = find_states(directory);
  // the one that `latest` names, then older ones; newer ones, of a run that was rolled back, at the end
  const auto newer = [&](const Found& state) { return latest != kNone && state.iteration > latest; };
  std::stable_partition(states.begin(), states.end(), [&](const Found& state) { return !newer(state); });
  for (const Found& state : states) {
    try {
      VerifiedState found(state.path);
      if (found.state().iteration == state.iteration) return found;
      log::warning("{}: holds iteration {}; passed over", state.path.string(), found.state().iteration);
    } catch (const Error& error) {
      log::warning("{}; this checkpoint is passed over", error.what());
    }
  }
  return std::nullopt;
}

void prune(const fs::path& directory, std::int64_t most_recent_k) {
  remove_abandoned(directory, [](std::string_view name) { return name == kLatest || iteration_of(name) != kNone; });
  if (most_recent_k <= 0) return;

  const std::int64_t latest = latest_iteration(directory);
  std::int64_t kept = 0;
  for (const Found& state : find_states(directory)) {
    if (latest != kNone && state.iteration > latest) continue;  // not of this run: not ours to remove
    if (++kept > most_recent_k) remove_folder(state.path);
  }
}

}  // namespace primus::checkpoint
