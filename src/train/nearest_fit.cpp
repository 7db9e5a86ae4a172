#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "config/schema.h"
#include "ops/cpu_backend.h"
#include "tensor/backend.h"
#include "train/fit.h"
#include "train/setup.h"

namespace primus::train {
namespace {

using config::RunConfig;

/// Turns one setting a step further towards less memory; false at the end, or where it is of no use.
using Knob = bool (*)(RunConfig& config, Device device);

bool recompute_automatically(RunConfig& config, Device) {
  if (config.recompute_granularity == config::RecomputeGranularity::kAuto) return false;
  config.recompute_granularity = config::RecomputeGranularity::kAuto;
  config.recompute_modules.clear();
  return true;
}

bool offload(RunConfig& config, Device device) {
  if (config.cpu_offloading || device.type == DeviceType::kCpu) return false;
  return config.cpu_offloading = true;
}

/// To the next number of rows that divides the global batch.
bool lower_micro_batch(RunConfig& config, Device) {
  if (config.micro_batch_size == 1) return false;
  config.micro_batch_size /= 2;
  while (config.global_batch_size % config.micro_batch_size != 0) --config.micro_batch_size;
  return true;
}

bool computes_in_bf16(Device device) { return device.type != DeviceType::kCpu || ops::cpu::has_native_bf16(); }

bool compute_in_bf16(RunConfig& config, Device device) {
  if (config.precision_config != config::Precision::kFp32 || !computes_in_bf16(device)) return false;
  config.precision_config = config::Precision::kBf16Mixed;
  return true;
}

template <config::StateDType RunConfig::*state>
bool keep_in_bf16(RunConfig& config, Device) {
  return std::exchange(config.*state, config::StateDType::kBf16) != config::StateDType::kBf16;
}

/// Master weights of the type that is computed with are the weights themselves.
bool keep_master_in_bf16(RunConfig& config, Device device) {
  if (config.precision_config != config::Precision::kBf16Mixed || !computes_in_bf16(device)) return false;
  return keep_in_bf16<&RunConfig::main_params_dtype>(config, device);
}

/// Half the rank at the same scale (alpha / dim). Adapters that are continued have their rank.
bool lower_rank(RunConfig& config, Device) {
  constexpr int kLeast = 8;  // below, ranks are filled up to 8
  if (config.peft != config::Peft::kLora || !config.peft_adapter.empty() || config.peft_dim <= kLeast) return false;
  const int dim = std::max(config.peft_dim / 2, kLeast);
  config.peft_alpha *= static_cast<double>(dim) / config.peft_dim;
  config.peft_dim = dim;
  return true;
}

/// To the next power of two or three quarters of one.
bool shorten_rows(RunConfig& config, Device) {
  constexpr int kLeast = 256;
  if (config.seq_length <= kLeast) return false;
  const auto power = static_cast<int>(std::bit_floor(static_cast<unsigned>(config.seq_length - 1)));
  config.seq_length = std::max(power + power / 2 < config.seq_length ? power + power / 2 : power, kLeast);
  return true;
}

bool train_adapters(RunConfig& config, Device) {
  return std::exchange(config.peft, config::Peft::kLora) != config::Peft::kLora;
}

/// What costs a user least comes first: time, then digits, then what changes the run.
constexpr std::array<Knob, 11> kKnobs{recompute_automatically,
                                      offload,
                                      lower_micro_batch,
                                      compute_in_bf16,
                                      keep_in_bf16<&RunConfig::exp_avg_dtype>,
                                      keep_in_bf16<&RunConfig::exp_avg_sq_dtype>,
                                      keep_in_bf16<&RunConfig::main_grads_dtype>,
                                      keep_master_in_bf16,
                                      lower_rank,
                                      shorten_rows,
                                      train_adapters};

/// From here on the run becomes another one: one such change is tried before two.
constexpr std::size_t kFirstChange = std::find(kKnobs.begin(), kKnobs.end(), lower_rank) - kKnobs.begin();

/// What leads from one configuration to the other, on the command line.
std::string settings_between(const RunConfig& original, const RunConfig& turned) {
  std::vector<std::string> settings;
  for (const config::KeySpec& key : config::schema()) {
    const std::string value = key.show(turned);
    if (value != key.show(original)) settings.push_back(fmt::format("--{} {}", key.name, value));
  }
  return fmt::format("{}", fmt::join(settings, " "));
}

std::string changes_between(const RunConfig& original, const RunConfig& turned) {
  std::vector<std::string> changes;
  if (turned.peft != original.peft) {
    changes.push_back(fmt::format("adapters of rank {} are trained instead of all weights", turned.peft_dim));
  } else if (turned.peft_dim != original.peft_dim) {
    changes.push_back(fmt::format("adapters have rank {} instead of {}", turned.peft_dim, original.peft_dim));
  }
  if (turned.seq_length != original.seq_length) {
    changes.push_back(fmt::format("rows are cut at {} tokens", turned.seq_length));
  }
  return fmt::format("{}", fmt::join(changes, ", "));
}

/// How far each knob is turned.
using Levels = std::array<int, kKnobs.size()>;

class FitSearch {
 public:
  FitSearch(const RunConfig& config, const model::ModelConfig& model, Device device, std::size_t available)
      : config_(config),
        model_(model),
        device_(device),
        available_(available),
        host_available_(backend(DeviceType::kCpu).memory_free(0)) {}

  /// The plan at `levels`, with `auto` recomputing whatever helps; nullopt when a knob does not turn so far.
  std::optional<MemoryPlan> least_plan(const Levels& levels) const {
    const std::optional<RunConfig> turned = at(levels);
    if (!turned) return std::nullopt;
    model::DecoderOptions options = options_of(*turned);
    MemoryPlan plan = plan_memory(model_, options, device_);
    if (turned->recompute_granularity != config::RecomputeGranularity::kAuto || plan.total <= available_) return plan;
    options.recompute = every_layer();
    MemoryPlan least = plan_memory(model_, options, device_);
    return least.total < plan.total ? least : plan;
  }
  bool fits_host(const MemoryPlan& plan) const { return plan.host_bytes <= host_available_; }
  bool fits(const Levels& levels) const {
    const std::optional<MemoryPlan> plan = least_plan(levels);
    return plan && plan->total <= available_ && fits_host(*plan);
  }

  /// Turns back what the last knob has made needless, the dearest first.
  Levels relaxed(Levels levels, std::size_t last) const {
    for (std::size_t knob = last; knob-- > 0;) {
      Levels tried = levels;
      for (tried[knob] = 0; tried[knob] < levels[knob] && !fits(tried);) ++tried[knob];
      levels = tried;
    }
    return levels;
  }

  Fit found(const Levels& levels) const {
    const RunConfig turned = *at(levels);
    model::DecoderOptions options = options_of(turned);
    if (turned.recompute_granularity == config::RecomputeGranularity::kAuto) {
      options.recompute = cheapest_recompute(model_, options, device_, available_);
    }
    return {settings_between(config_, turned), changes_between(config_, turned),
            plan_memory(model_, options, device_).total};
  }

 private:
  std::optional<RunConfig> at(const Levels& levels) const {
    RunConfig turned = config_;
    for (std::size_t knob = 0; knob < kKnobs.size(); ++knob) {
      for (int level = 0; level < levels[knob]; ++level) {
        if (!kKnobs[knob](turned, device_)) return std::nullopt;
      }
    }
    return turned;
  }
  /// `auto` is worked out for what is available, and not for what the device has free.
  model::DecoderOptions options_of(RunConfig turned) const {
    if (turned.recompute_granularity == config::RecomputeGranularity::kAuto) {
      turned.recompute_granularity = config::RecomputeGranularity::kNone;
    }
    return training_options(turned, model_, device_);
  }
  model::RecomputePolicy every_layer() const {
    RunConfig full;
    full.recompute_granularity = config::RecomputeGranularity::kFull;
    return recompute_policy(full, model_.num_hidden_layers);
  }

  const RunConfig& config_;
  const model::ModelConfig& model_;
  Device device_;
  std::size_t available_;
  std::size_t host_available_;
};

}  // namespace

std::optional<Fit> nearest_fit(const RunConfig& config, const model::ModelConfig& model, Device device,
                               std::size_t available) {
  const FitSearch search(config, model, device, available);
  Levels levels{}, most{};
  for (std::size_t knob = 0; knob < kKnobs.size(); ++knob) {
    for (std::size_t bytes = search.least_plan(levels)->total;;) {
      ++levels[knob];
      const std::optional<MemoryPlan> plan = search.least_plan(levels);
      if (!plan || !search.fits_host(*plan) || plan->total >= bytes) break;
      bytes = plan->total;
      if (bytes <= available) return search.found(search.relaxed(levels, knob));
    }
    most[knob] = --levels[knob];
    if (knob >= kFirstChange) levels[knob] = 0;
  }
  if (search.fits(most)) return search.found(search.relaxed(most, kKnobs.size()));
  return std::nullopt;
}

std::string Fit::text() const {
  return fmt::format("It fits with {} ({}){}", settings, format_bytes(bytes),
                     changes.empty() ? "" : fmt::format(". This changes the run: {}", changes));
}

}  // namespace primus::train
