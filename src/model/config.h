#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// The shape of a decoder, read from a Hugging Face config.json.
namespace primus::model {

enum class RopeType { kDefault, kLinear, kLlama3, kYarn };

/// Rotary embedding settings: `rope_theta` + `rope_scaling` (older files) or `rope_parameters` (newer ones).
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;                       // llama3
  double high_freq_factor = 4.0;                      // llama3
  std::int64_t original_max_position_embeddings = 0;  // llama3, yarn
  double beta_fast = 32.0;                            // yarn
  double beta_slow = 1.0;                             // yarn
  double attention_factor = 0.0;                      // yarn: multiplies cos and sin; 0: from factor and mscale
  double mscale = 0.0;                                // yarn, 0: absent
  double mscale_all_dim = 0.0;                        // yarn, 0: absent
  bool truncate = true;                               // yarn
};

struct ModelConfig {
  std::string architecture;  // "Qwen3ForCausalLM"
  std::string model_type;    // "qwen3"
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool qk_norm = false;                // Qwen3: a norm over each head of q and k
  bool qkv_bias = false;               // Qwen2; Llama and Qwen3 with attention_bias
  bool attention_output_bias = false;  // Llama and Qwen3 with attention_bias
  bool mlp_bias = false;
  std::int64_t sliding_window = 0;  // 0: none. Longer documents than this are refused
  RopeConfig rope;
  std::vector<std::int64_t> eos_token_ids;
  std::int64_t bos_token_id = -1;  // -1: none
  std::string json;                // the file's text, written back unchanged on export

  std::int64_t q_size() const { return num_attention_heads * head_dim; }
  std::int64_t kv_size() const { return num_key_value_heads * head_dim; }
  /// Parameters of the whole model, the tied embedding counted once.
  std::int64_t parameter_count() const;
  /// Parameters that a token is multiplied with: all matrices, LM head included, embedding lookup not.
  std::int64_t matrix_parameter_count() const;
};

/// `where` names the source in errors. Throws Error for an architecture that is not supported (naming it and those that
/// are), a missing or impossible size, an activation or rope type that is not supported.
ModelConfig parse_model_config(std::string_view json, const std::string& where);

/// <folder>/config.json, with the end-of-sequence ids of generation_config.json where there are any.
ModelConfig load_model_config(const std::filesystem::path& folder);

/// Angles' cosine and sine: (positions, head_dim/2) each, row-major f32, rounded where transformers rounds.
struct RopeTable {
  std::vector<float> cos;
  std::vector<float> sin;
};
RopeTable make_rope_table(const ModelConfig& config, std::int64_t positions);

}  // namespace primus::model
