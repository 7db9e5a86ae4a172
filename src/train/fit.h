#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "config/run_config.h"
#include "train/memory_plan.h"

namespace primus::train {

/// The policy that recomputes least among those that fit `available` bytes: first what elementwise kernels restore,
/// then single products, then ever more whole layers. Where none fits, every layer. `options` says all but the policy.
model::RecomputePolicy cheapest_recompute(const model::ModelConfig& model, const model::DecoderOptions& options,
                                          Device device, std::size_t available);

struct Fit {
  std::string settings;  // as they are written on the command line
  std::string changes;   // what the run then is that it was not: "rows are cut at 1024 tokens"; empty: the same run
  std::size_t bytes = 0;

  std::string text() const;
};
/// The nearest settings to `config` whose plan needs at most `available` bytes: first what costs time, then what costs
/// digits, and only where that is not enough what changes the run. nullopt when nothing helps.
std::optional<Fit> nearest_fit(const config::RunConfig& config, const model::ModelConfig& model, Device device,
                               std::size_t available);

/// Throws Error (kBadInput) when the device has less memory free than the plan needs, saying what takes most and the
/// nearest settings that fit, or the host less than the plan pins.
void require_fit(const config::RunConfig& config, const model::ModelConfig& model, const MemoryPlan& plan,
                 Device device);

}  // namespace primus::train
