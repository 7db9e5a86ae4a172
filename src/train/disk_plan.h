#pragma once

#include <cstdint>
#include <string>

#include "config/run_config.h"
#include "model/config.h"
#include "model/options.h"

namespace primus::train {

/// What a run is going to write, in bytes, but for logs and metrics.
struct DiskPlan {
  std::uint64_t checkpoint = 0;  // one of them
  std::int64_t checkpoints = 0;  // that are added to those which lie there, at most at a time
  std::uint64_t result = 0;      // hf/ or adapter/; 0: none
  std::string result_name;

  std::uint64_t total() const { return checkpoint * static_cast<std::uint64_t>(checkpoints) + result; }
  /// "20 checkpoints of 1.25 GiB, adapter/ 166.5 MiB: 25.16 GiB in all"
  std::string summary() const;
};

/// Of a run that has done `iterations` and whose `save` holds `states`. One checkpoint more than most_recent_k lies
/// there until the oldest is removed.
DiskPlan plan_disk(const config::RunConfig& config, const model::ModelConfig& model,
                   const model::DecoderOptions& options, std::int64_t iterations = 0, std::int64_t states = 0);

/// Holds the plan against what the file systems of `save` and of the run's directory, which must be there, have left.
/// Throws Error (kBadInput) where not even one checkpoint fits, and warns where the others or the result do not. A file
/// system that does not tell is not asked further.
void check_disk(const config::RunConfig& config, const DiskPlan& plan);

}  // namespace primus::train
