#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace primus::train {

double learning_rate(const config::RunConfig& config, std::int64_t step) {
  const double most = config.finetune_lr;
  const double least = config.min_lr;
  const std::int64_t warmup = config.lr_warmup_iters;
  const std::int64_t decay = config.lr_decay_iters;
  if (warmup > 0 && step <= warmup) return most * static_cast<double>(step) / static_cast<double>(warmup);
  if (config.lr_decay_style == config::DecayStyle::kConstant) return most;
  if (step > decay) return least;
  if (config.lr_decay_style == config::DecayStyle::kInverseSquareRoot) {
    const double scale = std::sqrt(static_cast<double>(std::max<std::int64_t>(warmup, 1))) /
                         std::sqrt(static_cast<double>(std::max<std::int64_t>(step, 1)));
    return std::max(least, most * scale);
  }
  const double done = decay > warmup ? static_cast<double>(step - warmup) / static_cast<double>(decay - warmup) : 1.0;
  const double share = config.lr_decay_style == config::DecayStyle::kLinear
                           ? 1.0 - done
                           : 0.5 * (std::cos(std::numbers::pi * done) + 1.0);
  return least + (most - least) * share;
}

}  // namespace primus::train
