#pragma once

#include <filesystem>
#include <string>

#include "checkpoint/training_state.h"
#include "config/run_config.h"
#include "model/decoder.h"
#include "ops/step_state.h"

namespace primus::train {

/// The settings that a resumed run must share with the run that it continues, as JSON: what is trained, and which rows
/// come in which order.
std::string resume_json(const config::RunConfig& config);

/// Compares a saved run_json with the present settings. Throws Error naming each setting that differs, both values,
/// and the ways out. Settings that may change (learning rate, train_iters, …) are not in it.
void check_resume(const std::string& saved_json, const config::RunConfig& config, const std::string& where);

/// The step state's lasting part in a checkpoint's terms, and back.
void put_state(const ops::StepState& state, checkpoint::TrainingState& saved);
ops::StepState take_state(const checkpoint::TrainingState& saved);

}  // namespace primus::train
