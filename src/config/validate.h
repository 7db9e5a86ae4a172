#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "config/load.h"

/// Contradictions that `load` cannot see alone. Every function throws Error (kBadInput) that names the place of the
/// setting to change and both values; none changes anything.
namespace primus::config {

/// Contradictions between settings; `load` calls it.
void check_settings(const Resolved& resolved);

/// world_size must be a multiple of tensor × context × pipeline parallel size, and global_batch_size of
/// micro_batch_size × data-parallel size.
void check_layout(const Resolved& resolved, int world_size);

/// Training runs in one process: refuses parallel sizes above 1. Call it when training starts; `config show` and `plan`
/// accept every layout.
void check_single_process(const Resolved& resolved);

/// What the checks below need to know of a model.
struct ModelShape {
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int intermediate_size = 0;
  int max_position_embeddings = 0;
};

/// Heads and intermediate size divisible by the tensor parallel size, layers by the pipeline stages, seq_length within
/// the model's positions.
void check_model(const Resolved& resolved, const ModelShape& model);

/// "file:line:column: " of that one of these keys which was set last, for messages; empty when nobody set one.
std::string where_set(const Resolved& resolved, std::initializer_list<std::string_view> keys);

/// Training and evaluation need dataset.path.
void require_dataset(const Resolved& resolved);

}  // namespace primus::config
