#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "model/config.h"
#include "model/options.h"
#include "tensor/device.h"

/// From the configuration's words to what the model is built with.
namespace primus::train {

/// auto: the first GPU that this build can use, else the CPU. Throws Error (kHostLacks) when a device that was asked
/// for is not there.
Device choose_device(config::DeviceChoice choice);

/// bf16_mixed computes in bf16 where the device multiplies bf16, else in f32, said once in the log.
DType choose_compute_dtype(config::Precision precision, Device device);

enum class CheckpointParts { kAll, kWithoutWeights };

/// The folder of a checkpoint: `hf_path` itself, or the snapshot of a hub id ("Qwen/Qwen3-0.6B", "…@revision") in the
/// Hugging Face cache, to which it is downloaded when it is not there (hub/hub.h). Throws Error saying where it looked;
/// `key` is what the user named it with.
std::filesystem::path resolve_checkpoint(const std::string& hf_path, CheckpointParts parts = CheckpointParts::kAll,
                                         const std::string& key = "hf_path");

/// Megatron's recompute settings as a policy over `layers` layers. Throws Error for a module that cannot be recomputed.
model::RecomputePolicy recompute_policy(const config::RunConfig& config, std::int64_t layers);

/// The projections that get adapters: peft_target_modules, or all seven.
std::vector<std::string> target_modules(const config::RunConfig& config);

/// How much memory the loss head's logits may take at a time. A GPU needs more rows at once to be busy; most where the
/// head is trained, because each piece is added to the head's whole gradient.
std::int64_t logits_bytes(Device device, bool trains_head);

/// Whether the device has memory of its own that the host's can relieve; where it has none, it is said once in the log.
bool can_offload(Device device);

/// How the model of a training run is built: method, types, sizes.
model::DecoderOptions training_options(const config::RunConfig& config, const model::ModelConfig& model, Device device);

/// Tokens that a micro-batch may hold: micro_batch_size · seq_length, with filler.
std::int64_t max_tokens(const config::RunConfig& config);

}  // namespace primus::train
