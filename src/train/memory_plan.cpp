#include "train/memory_plan.h"

#include <algorithm>

#include "base/error.h"
#include "ops/step_state.h"
#include "tensor/backend.h"

namespace primus::train {

std::string format_bytes(std::size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 0x1p30) return fmt::format("{:.2f} GiB", value / 0x1p30);
  if (value >= 0x1p20) return fmt::format("{:.1f} MiB", value / 0x1p20);
  return fmt::format("{:.1f} KiB", value / 0x1p10);
}

DeviceMemory::DeviceMemory(const model::ModelConfig& config, const model::DecoderOptions& options, Arena& arena)
    : decoder(config, options, arena),
      batch(arena, options.max_tokens),
      workspace(arena.vector(MemoryKind::kWorkspace, "operations' workspace", DType::kU8,
                             static_cast<std::int64_t>(workspace_bytes(arena.device())))),
      state(arena.vector(MemoryKind::kOptimizer, "step state", DType::kU8, sizeof(ops::StepState))),
      state_read(arena.matrix(MemoryKind::kOptimizer, "step state, read back", DType::kU8, 2, sizeof(ops::StepState))) {
}

void DeviceMemory::initialize(Stream& stream) {
  if (workspace.bytes() > 0) stream.lend_workspace(workspace);
  stream.set_deterministic(decoder.options().deterministic);
  decoder.initialize(stream);
}

std::string MemoryPlan::summary() const {
  std::string text;
  for (const auto& [kind, bytes] : by_kind) {
    if (bytes > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(kind), format_bytes(bytes));
  }
  text += fmt::format(": {} in all", format_bytes(total));
  if (host_bytes > 0) text += fmt::format("; host memory for what is offloaded {}, pinned", format_bytes(host_bytes));
  return text;
}

std::string describe_recompute(const model::ModelConfig& config, const model::DecoderOptions& options) {
  const model::RecomputePolicy& policy = options.recompute;
  const auto recomputed = [&](std::int64_t layer) { return policy.span_of(layer) != nullptr; };
  std::vector<std::string> parts;
  const auto count = [&](const char* what, const auto& is_missing) {
    std::int64_t layers = 0;
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) layers += is_missing(layer) ? 1 : 0;
    if (layers > 0) parts.push_back(fmt::format("{} of {} layers", what, layers));
  };
  const auto count_restored = [&](const char* what, bool model::LayerKeeps::*kept) {
    count(what, [&](std::int64_t layer) { return !recomputed(layer) && !(policy.keeps_of(layer).*kept); });
  };
  if (config.qk_norm) count_restored("rotated queries and keys", &model::LayerKeeps::rotated);
  count_restored("norms", &model::LayerKeeps::norms);
  count_restored("gate and up", &model::LayerKeeps::gate_up);
  count_restored("qkv", &model::LayerKeeps::qkv);
  count_restored("attention", &model::LayerKeeps::attention);
  count("all but attention",
        [&](std::int64_t layer) { return recomputed(layer) && options.offloads_attention(layer); });
  count("all", [&](std::int64_t layer) { return recomputed(layer) && !options.offloads_attention(layer); });
  return parts.empty() ? "nothing" : fmt::format("{}", fmt::join(parts, ", "));
}

MemoryPlan plan_memory(const model::ModelConfig& config, const model::DecoderOptions& options, Device device) {
  Arena arena = Arena::measuring(device);
  const DeviceMemory memory(config, options, arena);
  MemoryPlan plan{.total = arena.peak(),
                  .host_bytes = memory.decoder.host_bytes(),
                  .recompute = describe_recompute(config, options),
                  .by_kind = arena.peak_by_kind(),
                  .largest = arena.entries()};
  std::stable_sort(plan.largest.begin(), plan.largest.end(),
                   [](const Arena::Entry& a, const Arena::Entry& b) { return a.bytes > b.bytes; });
  plan.largest.resize(std::min<std::size_t>(plan.largest.size(), 10));
  return plan;
}

}  // namespace primus::train
