#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/training_state.h"
#include "config/run_config.h"
#include "model/generator.h"
#include "train/memory_plan.h"

namespace primus::train {

/// Where a model's values come from: a Hugging Face folder, with an adapter over it, or with the state of a run.
struct ModelSource {
  std::filesystem::path base;     // a Hugging Face folder
  std::filesystem::path adapter;  // a PEFT folder, or empty
  std::optional<checkpoint::VerifiedState> state;
};

/// What `path` is: a PEFT folder, a training state (or a folder of them: the newest), or a Hugging Face folder that
/// takes base's place. Throws Error naming the three when it is none of them.
ModelSource model_source(const std::filesystem::path& base, const std::filesystem::path& path);

/// Throws Error when the adapter of config.peft_adapter has another rank, another scale or other modules than the run
/// asks for, with the settings that fit it.
void check_adapter(const config::RunConfig& config);

struct OpenOptions {
  Device device;
  DType compute_dtype = DType::kF32;
  std::int64_t max_tokens = 0;
  std::int64_t max_positions = 0;
  /// Generation: sequences at once, and tokens of each. 0: none.
  std::int64_t sequences = 0;
  std::int64_t capacity = 0;
};

/// A model that evaluates or generates.
class OpenModel {
 public:
  /// Throws Error when the model does not fit or does not load.
  OpenModel(const ModelSource& source, const OpenOptions& options);

  Stream& stream() { return stream_; }
  DeviceMemory& memory() { return *memory_; }
  const model::ModelConfig& config() const { return memory_->decoder.config(); }
  /// Only with sequences > 0.
  model::Generator& generator() { return *generator_; }

 private:
  Stream stream_;
  std::optional<Arena> arena_;
  std::unique_ptr<DeviceMemory> memory_;
  std::unique_ptr<model::Generator> generator_;
};

/// Writes the Hugging Face model or the PEFT adapter of a training state. Returns what it wrote: "model" or "adapter".
std::string export_state(const std::filesystem::path& state, const std::filesystem::path& output);

}  // namespace primus::train
