#pragma once

#include <cstdint>

#include "config/run_config.h"

namespace primus::train {

/// The learning rate of step `step`, counted from 0, as Megatron's scheduler: finetune_lr · step/warmup while
/// step <= warmup, then the decay style down to min_lr at lr_decay_iters, and min_lr after it.
double learning_rate(const config::RunConfig& config, std::int64_t step);

}  // namespace primus::train
