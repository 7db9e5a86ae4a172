#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/parameter.h"
#include "tensor/stream.h"

/// What a run needs to go on as if it had not stopped.
///
/// A state is a folder: safetensors files with slices of the trainable parameters' master values ("<name>") and AdamW's
/// moments ("exp_avg.<name>", "exp_avg_sq.<name>"), and state.json, the manifest: everything else, and for each tensor
/// its global shape and which slice of it stands in which file. So it loads into any layout. Every byte is covered by a
/// checksum. Frozen weights are not stored, only named.
namespace primus::checkpoint {

/// How the processes that wrote a state were arranged.
struct Layout {
  std::int64_t tensor_parallel = 1;
  std::int64_t context_parallel = 1;
  std::int64_t data_parallel = 1;
  std::int64_t pipeline_parallel = 1;

  bool operator==(const Layout&) const = default;
};

struct TrainingState {
  std::int64_t iteration = 0;      // done
  std::int64_t consumed_rows = 0;  // data position: rows (packs) of the batch plan that are used up
  std::uint64_t seed = 0;
  std::map<std::string, std::int64_t> counters;  // "updates", "skipped", …
  std::map<std::string, double> numbers;         // "loss_scale", …; come back bit for bit, infinities and NaN too
  std::string config_json = "{}";                // the caller's: what resuming compares
  Layout layout;
  std::string base_path;         // the checkpoint that frozen weights come from; empty: nothing is frozen
  std::string base_fingerprint;  // of that checkpoint
};

/// Writes the state of all trainable parameters into `folder`, which appears when it is complete and synced to disk.
/// Throws Error (kRunFailed) with the system's reason; what stood in `folder` before is then untouched.
void save_state(const std::filesystem::path& folder, const TrainingState& state,
                const model::ParameterRegistry& registry, Stream& stream);

/// Bytes that save_state writes, but for names and state.json. The registry's memory may be a measuring arena's.
std::uint64_t state_bytes(const model::ParameterRegistry& registry);

struct StateManifest;

/// A state whose manifest has been read and whose files all have the size and the checksum that it says.
class VerifiedState {
 public:
  /// Reads every byte of the state. Throws Error naming the file for what is broken.
  explicit VerifiedState(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const TrainingState& state() const;
  const StateManifest& manifest() const { return *manifest_; }

 private:
  std::filesystem::path folder_;
  std::shared_ptr<const StateManifest> manifest_;
};

/// Throws Error when the state was trained over other frozen weights than those with this fingerprint. Nothing is
/// compared when one of the two is not known.
void check_base(const VerifiedState& saved, const std::string& base_fingerprint);

/// Fills master, exp_avg, exp_avg_sq and the compute copies of all trainable parameters. Throws Error when a tensor is
/// missing or of another shape, and what check_base throws. Parameters without moments (for evaluation) load without
/// them.
void load_state(const VerifiedState& saved, model::ParameterRegistry& registry, Stream& stream,
                const std::string& base_fingerprint = "");

/// "iter_0000050"
std::string state_name(std::int64_t iteration);

/// save_state into <directory>/iter_0000050, then <directory>/latest names it. Returns the folder.
std::filesystem::path save_checkpoint(const std::filesystem::path& directory, const TrainingState& state,
                                      const model::ParameterRegistry& registry, Stream& stream);

/// How many states are in the directory, complete or not.
std::int64_t count_states(const std::filesystem::path& directory);

/// The newest complete state: the one that `latest` names, or else the one before it. Broken ones are
/// passed over with a warning that names what is wrong. nullopt when there is none.
std::optional<VerifiedState> find_latest(const std::filesystem::path& directory);

/// Removes all but the `most_recent_k` newest states (0 keeps all; the one that `latest` names is always kept) and what
/// processes that are gone left unfinished. Failures are warnings.
void prune(const std::filesystem::path& directory, std::int64_t most_recent_k);

}  // namespace primus::checkpoint
