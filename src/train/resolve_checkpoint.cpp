#include <algorithm>

#include "base/error.h"
#include "checkpoint/hf.h"
#include "checkpoint/safetensors.h"
#include "hub/hub.h"
#include "monitor/task_progress.h"
#include "train/setup.h"

namespace primus::train {
namespace {

namespace fs = std::filesystem;

/// model-00001-of-00004.safetensors and their index
bool is_shard(const std::string& path) {
  return path.find('/') == std::string::npos &&
         (path == "model.safetensors.index.json" || (path.starts_with("model-") && path.ends_with(".safetensors")));
}

std::vector<std::string> choose_files(const std::vector<std::string>& paths, CheckpointParts parts,
                                      const std::string& hf_path) {
  const bool whole = std::find(paths.begin(), paths.end(), "model.safetensors") != paths.end();
  const bool weights = parts == CheckpointParts::kAll;
  if (weights && !whole && std::none_of(paths.begin(), paths.end(), is_shard)) {
    throw bad_input("{} has no model.safetensors and no shards of it on the hub: convert its weights", hf_path);
  }
  std::vector<std::string> chosen;
  for (const std::string& path : paths) {
    const bool is_weight = whole ? path == "model.safetensors" : is_shard(path);
    if (path == "config.json" || checkpoint::is_companion_file(path) || (weights && is_weight)) chosen.push_back(path);
  }
  return chosen;
}

bool suffices(const fs::path& snapshot, CheckpointParts parts) {
  if (!fs::is_regular_file(snapshot / "config.json")) return false;
  if (parts == CheckpointParts::kWithoutWeights) return fs::is_regular_file(snapshot / "tokenizer.json");
  try {
    const checkpoint::ModelFiles files(snapshot);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

fs::path resolve_checkpoint(const std::string& hf_path, CheckpointParts parts, const std::string& key) {
  if (hf_path.empty()) {
    throw bad_input("hf_path is not set: name a checkpoint's folder or a hub id, in the YAML file or with --hf_path");
  }
  if (fs::is_directory(hf_path)) return hf_path;
  const auto repository = hub::parse_repository(hf_path, hub::Kind::kModel);
  if (!repository) {
    throw bad_input("{}: {}: no such folder. Name a folder with config.json and model.safetensors, or a hub id", key,
                    hf_path);
  }
  monitor::TaskProgress progress({.label = "downloading"});
  hub::Settings settings = hub::settings_from_environment();
  settings.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
  try {
    return hub::snapshot(
        *repository,
        {.choose = [&](const std::vector<std::string>& paths) { return choose_files(paths, parts, hf_path); },
         .suffices = [&](const fs::path& snapshot) { return suffices(snapshot, parts); }},
        settings);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {} is no folder here, so it is taken for a hub id. {}", key, hf_path, error.what()),
                error.code());
  }
}

}  // namespace primus::train
