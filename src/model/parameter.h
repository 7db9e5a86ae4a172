#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/tensor.h"

namespace primus::model {

/// How a parameter is split over tensor-parallel ranks.
enum class ShardRule { kReplicated, kRows, kColumns };

/// One tensor of the checkpoint. Its memory is a view into a fused buffer (q, k, v in one; gate, up in one), so a view
/// may have a row stride.
struct Parameter {
  /// Hugging Face's name, "model.layers.0.self_attn.q_proj.weight". Adapters carry the module's name and
  /// "lora_A.weight" or "lora_B.weight": "model.layers.0.self_attn.q_proj.lora_A.weight".
  std::string name;
  int rank = 2;           // 1: vectors (norms, biases), not decayed
  std::int64_t rows = 0;  // 1 for vectors
  std::int64_t columns = 0;
  ShardRule shard = ShardRule::kReplicated;
  bool trainable = false;

  /// What the operations read, in the compute type. Empty for LoRA's B, whose copy inside the base weight (`published`)
  /// is scaled.
  Tensor weight;

  // Trainable parameters only: views into the flat buffers, all at `flat_offset`.
  std::int64_t flat_offset = -1;
  Tensor master;      // f32 or bf16; the same memory as `weight` when the compute type is the master type
  Tensor gradient;    // f32 or bf16
  Tensor exp_avg;     // AdamW's m
  Tensor exp_avg_sq;  // AdamW's v

  // LoRA's B only: columns of the base weight's buffer that hold publish_scale · B.
  Tensor published;
  float publish_scale = 1.0F;

  std::int64_t numel() const { return rows * columns; }
  /// Where values live that a checkpoint of weights holds: master when trainable, else weight.
  const Tensor& values() const { return master.empty() ? weight : master; }
};

/// Every parameter of a model, in the order of the checkpoint's names. Import, export, optimizer, training state and
/// plan all walk it.
class ParameterRegistry {
 public:
  Parameter& add(Parameter parameter);
  /// nullptr when there is none of that name.
  Parameter* find(std::string_view name);
  const Parameter* find(std::string_view name) const;

  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }

  std::int64_t count() const;
  std::int64_t trainable_count() const;

 private:
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, std::size_t> index_;
};

}  // namespace primus::model
