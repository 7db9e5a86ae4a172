#include "train/open_model.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/hf.h"
#include "checkpoint/peft.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/training_state.h"
#include "train/resume.h"
#include "train/setup.h"

namespace primus::train {
namespace {

namespace fs = std::filesystem;

SavedRun saved_run(const checkpoint::VerifiedState& saved) {
  return read_run_json(saved.state().config_json, saved.folder().string());
}

model::LoraOptions lora_of(const fs::path& adapter) {
  const checkpoint::LoraInfo info = checkpoint::read_adapter_info(adapter);
  return {.rank = static_cast<int>(info.rank),
          .alpha = info.alpha,
          .dropout = info.dropout,
          .target_modules = info.target_modules};
}

/// The base must be the one that the adapters were trained over.
void load_trained(const checkpoint::VerifiedState& state, const fs::path& base, bool adapters,
                  model::ParameterRegistry& registry, Stream& stream) {
  const std::string fingerprint = adapters ? checkpoint::fingerprint(checkpoint::ModelFiles(base)) : std::string();
  checkpoint::load_state(state, registry, stream, fingerprint);
}

}  // namespace

ModelSource model_source(const fs::path& base, const fs::path& path) {
  if (!fs::is_directory(path)) throw bad_input("{}: there is no such folder", path.string());
  if (fs::exists(path / "adapter_config.json")) return {.base = base, .adapter = path, .state = {}};
  if (fs::exists(path / "config.json")) return {.base = path, .adapter = {}, .state = {}};
  if (const auto state = open_state(path)) return {.base = base, .adapter = {}, .state = *state};
  throw bad_input(
      "{}: neither a Hugging Face model (config.json), nor a PEFT adapter (adapter_config.json), nor a training "
      "checkpoint (state.json, or a folder of iter_… folders)",
      path.string());
}

void check_adapter(const config::RunConfig& config) {
  const model::LoraOptions adapter = lora_of(config.peft_adapter);
  const auto sorted = [](std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    return names;
  };
  const bool same_scale = std::fabs(adapter.alpha - config.peft_alpha) <= 1e-6 * adapter.alpha;  // rslora's is a root
  if (adapter.rank == config.peft_dim && same_scale &&
      sorted(adapter.target_modules) == sorted(target_modules(config))) {
    return;
  }
  throw bad_input(
      "peft_adapter: {} is of another form than this run's adapters (peft_dim {}, peft_alpha {}, {}): to go on from "
      "it, "
      "set peft_dim: {}, peft_alpha: {}, peft_target_modules: [{}]",
      config.peft_adapter, config.peft_dim, config.peft_alpha, fmt::join(target_modules(config), ", "), adapter.rank,
      adapter.alpha, fmt::join(adapter.target_modules, ", "));
}

OpenModel::OpenModel(const ModelSource& source, const OpenOptions& open) : stream_(open.device) {
  const model::ModelConfig config = model::load_model_config(source.base);
  model::DecoderOptions options{.compute_dtype = open.compute_dtype,
                                .train = false,
                                .train_base = false,
                                .max_tokens = open.max_tokens,
                                .max_positions = open.max_positions,
                                .logits_bytes = logits_bytes(open.device, /*trains_head=*/false)};
  if (!source.adapter.empty()) options.lora = lora_of(source.adapter);
  if (source.state) {
    const SavedRun run = saved_run(*source.state);
    if (run.adapters) {
      options.lora = run.lora;
    } else {
      options.train_base = true;
    }
  }
  const auto build = [&](Arena& arena) {
    memory_ = std::make_unique<DeviceMemory>(config, options, arena);
    if (open.sequences > 0) {
      generator_ = std::make_unique<model::Generator>(memory_->decoder, open.sequences, open.capacity, arena);
    }
  };
  Arena measured = Arena::measuring(open.device);
  build(measured);
  generator_.reset();
  arena_.emplace(Arena::allocate(open.device, measured.peak()));
  build(*arena_);

  memory_->initialize(stream_);
  model::ParameterRegistry& registry = memory_->decoder.parameters();
  if (!options.train_base) checkpoint::load_weights(source.base, registry, stream_);
  if (!source.adapter.empty()) checkpoint::load_adapter(source.adapter, registry, stream_);
  if (source.state) load_trained(*source.state, source.base, options.lora.has_value(), registry, stream_);
}

std::string export_state(const fs::path& path, const fs::path& output) {
  const std::optional<checkpoint::VerifiedState> state = open_state(path);
  if (!state)
    throw bad_input("{}: there is no training checkpoint here (state.json, or iter_… folders)", path.string());
  const SavedRun run = saved_run(*state);
  const Device host;
  model::DecoderOptions options{.compute_dtype = DType::kF32, .train = false, .train_base = !run.adapters};
  if (run.adapters) options.lora = run.lora;

  Arena measured = Arena::measuring(host);
  { const model::Weights sizes(run.model, options, measured); }
  Arena arena = Arena::allocate(host, measured.peak());
  model::Weights weights(run.model, options, arena);
  Stream stream(host);
  weights.clear(stream);
  checkpoint::load_state(*state, weights.registry, stream);
  if (run.adapters) {
    checkpoint::save_adapter(output, weights.registry,
                             {.rank = run.lora.rank,
                              .alpha = run.lora.alpha,
                              .dropout = run.lora.dropout,
                              .target_modules = run.lora.target_modules,
                              .base_model_name = run.hf_path},
                             stream);
    return "adapter";
  }
  if (!fs::is_directory(run.checkpoint)) {
    log::warning("{}: the base model's folder is gone: the export has no tokenizer files", run.checkpoint.string());
  }
  checkpoint::save_model(output, weights.registry, run.model, stream,
                         {.source = fs::is_directory(run.checkpoint) ? run.checkpoint : fs::path()});
  return "model";
}

}  // namespace primus::train
