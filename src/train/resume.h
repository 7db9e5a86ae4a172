#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "checkpoint/training_state.h"
#include "config/run_config.h"
#include "data/token_set.h"
#include "model/decoder.h"
#include "ops/step_state.h"

namespace primus::train {

/// What a checkpoint says about its run, as JSON: the settings that a resumed run must share with it (what is trained,
/// and which rows come in which order), and what exporting it needs.
std::string run_json(const config::RunConfig& config, const data::TokenSet& training, const model::ModelConfig& model,
                     const std::filesystem::path& checkpoint);

/// What `export` reads of it.
struct SavedRun {
  bool adapters = false;
  model::LoraOptions lora;  // of adapters
  std::string hf_path;
  std::filesystem::path checkpoint;  // the folder that hf_path resolved to
  model::ModelConfig model;
};
SavedRun read_run_json(const std::string& json, const std::string& where);

/// The state in `path`: itself, or the newest of the states in it or, of a run's folder, in its checkpoints/; nullopt
/// when there is none.
std::optional<checkpoint::VerifiedState> open_state(const std::filesystem::path& path);

/// The checkpoint that a run of this configuration goes on from, the newest in config.load or else of its own; nullopt
/// when it begins anew. Throws Error, before anything is loaded, when `load` has none, when settings differ that must
/// not (naming each, both values, and the ways out; learning rate, train_iters and others may change), and when the
/// adapters were trained on other weights than those in `base`.
std::optional<checkpoint::VerifiedState> state_to_resume(const config::RunConfig& config,
                                                         const std::filesystem::path& base);
/// The same for the rows, once they are known.
void check_rows(const checkpoint::VerifiedState& saved, const data::TokenSet& training);

/// The step state's lasting part in a checkpoint's terms.
void put_state(const ops::StepState& state, checkpoint::TrainingState& saved);
/// And back into `state`, which holds what a new run begins with. A run that goes on in fp16 after another precision
/// keeps the loss scale that it begins with.
void take_state(const checkpoint::TrainingState& saved, const config::RunConfig& config, ops::StepState& state);

}  // namespace primus::train
