#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "cli/arguments.h"
#include "config/load.h"
#include "data/load.h"
#include "model/config.h"
#include "tokenizer/tokenizer.h"
#include "train/setup.h"

/// Steps that several commands begin with.
namespace primus::cli {

/// The configuration of --config and the overrides; ignored keys are named once in the log.
config::Resolved load_configuration(const Arguments& arguments);

struct OpenedCheckpoint {
  std::filesystem::path folder;
  model::ModelConfig model;
};
/// The folder of config.hf_path with its model, checked against the layout and the sequence length.
OpenedCheckpoint open_checkpoint(const config::Resolved& resolved,
                                 train::CheckpointParts parts = train::CheckpointParts::kAll);

/// The tokenizer of a checkpoint's folder, or nothing when the folder has none: rows of token ids need none.
std::optional<tokenizer::Tokenizer> open_tokenizer(const std::filesystem::path& folder);

/// Throws Error when dataset.path is not given or dataset.columns names what no format has.
void check_dataset(const config::Resolved& resolved);

data::LoadSettings data_settings(const config::RunConfig& config, const model::ModelConfig& model);

/// Lets a bar show how far loading with these settings is.
void show_progress(data::LoadSettings& settings);

/// Throws Error when `output` is there and is no empty folder: writing would replace it with all that is in it.
void require_free(const std::filesystem::path& output);

/// The folder for what a run leaves, made if need be, as is the one for its checkpoints. Throws Error when one of them
/// cannot be made or written into.
std::filesystem::path make_run_directory(const config::RunConfig& config);

}  // namespace primus::cli
