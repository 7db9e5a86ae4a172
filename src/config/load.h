#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/run_config.h"

/// From a YAML file, its presets and the command line to one complete RunConfig.
namespace primus::config {

/// The value of an environment variable, or nothing when it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

/// `--key value`: a dotted key and its text.
using Override = std::pair<std::string, std::string>;

struct LoadRequest {
  std::filesystem::path file;       // empty: defaults, presets named by the overrides, and the overrides
  std::vector<Override> overrides;  // in the order of the command line; the last one of a key wins
  Environment environment;          // empty: the process's own
};

/// The layers, lowest first; a value comes from the highest layer that sets it.
enum class Layer { kDefault, kModelPreset, kModulePreset, kRunFile, kCommandLine };

/// Where one value came from.
struct Provenance {
  std::string key;  // dotted, e.g. dataset.path
  Layer layer = Layer::kDefault;
  std::string where;  // file:line:column, --key, or empty for a default
  bool null = false;  // the layer said `null`, so the value is the key's default
};

struct Resolved {
  RunConfig config;
  std::vector<Provenance> provenance;     // one a known key, in the reference's order
  std::vector<std::string> ignored_keys;  // meaningful elsewhere, without effect here; each once, in order met

  /// The key's entry. `key` must be one of the schema's names.
  const Provenance& source_of(std::string_view key) const;
};

/// Reads, merges, checks and completes the configuration, including every contradiction that can be seen without the
/// model and the number of processes (validate.h has those). Takes a few milliseconds.
/// Throws Error (kBadInput) naming file:line:column (or --key), what was found, what is expected and the nearest name.
Resolved load(const LoadRequest& request);

/// The arguments after a command as overrides: `--key value`, `--key=value`, and a bare `--key` for a key that is true
/// or false. Dashes inside a key read as underscores. A value that begins with `--` needs the `=` form.
/// Throws Error for anything else; unknown keys are load's to refuse.
std::vector<Override> parse_overrides(const std::vector<std::string>& arguments);

/// The folder that holds `configs/`: PRIMUS_ROOT when set, else the nearest one above the executable, else the working
/// directory.
std::filesystem::path project_root(const Environment& environment = {});

}  // namespace primus::config
