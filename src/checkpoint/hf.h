#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "checkpoint/safetensors_writer.h"
#include "model/config.h"
#include "model/parameter.h"
#include "tensor/stream.h"

/// Hugging Face folders, as transformers reads and writes them.
namespace primus::checkpoint {

/// Fills every base parameter of the registry (adapters are not in such folders) from `folder`, converting element
/// types; masters keep the file's full precision. lm_head.weight of a model with tied embeddings and rotary inv_freq
/// buffers are passed over; other tensors that the model has not got are named in one warning. Throws Error naming file
/// and tensor: missing, of another shape (found and expected), of an element type other than F32, F16 and BF16, or not
/// finite in f16.
void load_weights(const std::filesystem::path& folder, model::ParameterRegistry& registry, Stream& stream);

struct SaveModel {
  std::filesystem::path source;  // config.json's sister files are copied from here; may be empty
  std::optional<DType> dtype;    // f32, bf16 or f16; nullopt: what the configuration names, else f32
  std::uint64_t max_shard_bytes = kDefaultShardBytes;
};
/// Writes a folder that transformers loads: config.json (config.json's text with its dtype), generation_config.json,
/// tokenizer and chat template of the source, and the base parameters' values. The folder appears when it is complete.
void save_model(const std::filesystem::path& folder, const model::ParameterRegistry& registry,
                const model::ModelConfig& config, Stream& stream, const SaveModel& options = {});

/// Bytes of the weights that save_model writes. The registry's memory may be a measuring arena's.
std::uint64_t model_bytes(const model::ParameterRegistry& registry, const model::ModelConfig& config);

/// Whether a file of a checkpoint (its path in the folder) goes with the model whatever its weights are: tokenizer,
/// chat templates, generation settings, licence.
bool is_companion_file(std::string_view path);
/// What a folder of the same model but other weights needs from `source`, without the weights and config.json.
void copy_companion_files(const std::filesystem::path& source, const std::filesystem::path& folder);

}  // namespace primus::checkpoint
