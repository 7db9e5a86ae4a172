#include "train/fit.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "tensor/backend.h"
#include "train/setup.h"

namespace primus::train {

namespace {

/// What a layer may keep, from everything down; after the last comes its input alone. Each gives up more than the one
/// before, at a higher price for a byte: elementwise passes, then products of a wide output and a short depth, then
/// attention and the product behind it.
constexpr model::LayerKeeps kLadder[] = {
    {},
    {.rotated = false},
    {.norms = false, .rotated = false},
    {.norms = false, .rotated = false, .gate_up = false},
    {.norms = false, .qkv = false, .rotated = false, .gate_up = false},
};
constexpr int kInputAlone = std::size(kLadder);

/// The first `count` layers on a rung, the others on the one above.
model::RecomputePolicy on_rung(int rung, std::int64_t count) {
  model::RecomputePolicy policy;
  policy.keeps = kLadder[rung - 1];
  if (rung < kInputAlone) {
    policy.first_layers.assign(static_cast<std::size_t>(count), kLadder[rung]);
  } else {
    for (std::int64_t layer = 0; layer < count; ++layer) policy.spans.push_back({layer, layer + 1});
  }
  return policy;
}

/// What the host can give for what is offloaded.
std::size_t free_host_memory() { return backend(DeviceType::kCpu).memory_free(0); }

void require_host_memory(const MemoryPlan& plan) {
  const std::size_t free = plan.host_bytes == 0 ? 0 : free_host_memory();
  if (plan.host_bytes <= free) return;
  throw bad_input(
      "cpu_offloading: this run pins {} of host memory and the host has {} free: shorten seq_length, lower "
      "micro_batch_size, or leave cpu_offloading off",
      format_bytes(plan.host_bytes), format_bytes(free));
}

}  // namespace

model::RecomputePolicy cheapest_recompute(const model::ModelConfig& model, const model::DecoderOptions& options,
                                          Device device, std::size_t available) {
  const auto fits = [&](const model::RecomputePolicy& policy) {
    model::DecoderOptions tried = options;
    tried.recompute = policy;
    return plan_memory(model, tried, device).total <= available;
  };
  if (fits({})) return {};
  const std::int64_t layers = model.num_hidden_layers;
  int rung = 1;
  while (rung < kInputAlone && !fits(on_rung(rung, layers))) ++rung;
  std::int64_t too_few = 0, enough = layers;  // each layer on the lower rung needs less
  while (enough - too_few > 1) {
    const std::int64_t middle = (too_few + enough) / 2;
    (fits(on_rung(rung, middle)) ? enough : too_few) = middle;
  }
  return on_rung(rung, enough);
}

void require_fit(const config::RunConfig& config, const model::ModelConfig& model, const MemoryPlan& plan,
                 Device device) {
  require_host_memory(plan);
  const std::size_t free = backend(device.type).memory_free(device.index);
  if (plan.total <= free) return;
  const Arena::Entry& largest = plan.largest.front();
  const std::optional<Fit> fit = nearest_fit(config, model, device, free);
  throw bad_input("this run needs {} of memory and the {} has {} free ({}; the largest single item is {} with {}). {}",
                  format_bytes(plan.total), device.type == DeviceType::kCpu ? "host" : "GPU", format_bytes(free),
                  plan.summary(), largest.name, format_bytes(largest.bytes),
                  fit ? fit->text() : "No setting makes it fit: take a smaller model or a larger device");
}

}  // namespace primus::train
