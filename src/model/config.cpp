#include "model/config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "model/json_object.h"

namespace primus::model {
namespace {

// Above any model there is, and low enough that no product of two or three overflows.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayers = 1 << 12;
constexpr std::int64_t kMaxHeads = 1 << 14;
constexpr std::int64_t kMaxHeadDim = 1 << 12;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 31;
constexpr std::int64_t kAbsent = -1;

/// What transformers' configuration class of a family takes for what a file leaves out.
struct Family {
  const char* architecture;
  const char* model_type;
  std::int64_t head_dim;             // kAbsent: hidden_size / num_attention_heads
  std::int64_t num_key_value_heads;  // kAbsent: num_attention_heads
  std::int64_t max_position_embeddings;
  std::int64_t bos_token_id;  // kAbsent: none
  std::int64_t eos_token_id;  // kAbsent: none
  bool qk_norm;
  bool always_qkv_bias;
  bool has_attention_bias;  // reads `attention_bias`
  bool has_mlp_bias;        // reads `mlp_bias`
};

constexpr std::array<Family, 4> kFamilies{{
    {"Qwen3ForCausalLM", "qwen3", 128, 32, 32768, kAbsent, kAbsent, true, false, true, false},
    {"Qwen2ForCausalLM", "qwen2", kAbsent, 32, 32768, kAbsent, kAbsent, false, true, false, false},
    {"LlamaForCausalLM", "llama", kAbsent, kAbsent, 2048, 1, 2, false, false, true, true},
    {"MistralForCausalLM", "mistral", kAbsent, 8, 131072, 1, 2, false, false, false, false},
}};

std::string supported_architectures() {
  std::string names;
  for (const Family& family : kFamilies) names += (names.empty() ? "" : ", ") + std::string(family.architecture);
  return names;
}

const Family& find_family(const JsonObject& file) {
  const auto model_type = file.string("model_type", "");
  const auto architectures = file.strings("architectures");
  if (architectures.empty()) {
    for (const Family& family : kFamilies) {
      if (model_type == family.model_type) return family;
    }
    throw bad_input("{}: `architectures` is missing and `model_type` is {}; supported architectures: {}", file.where(),
                    file.show("model_type"), supported_architectures());
  }
  for (const Family& family : kFamilies) {
    if (architectures.front() != family.architecture) continue;
    if (!model_type.empty() && model_type != family.model_type) {
      file.refuse("model_type", fmt::format("{} goes with \"{}\"", family.architecture, family.model_type));
    }
    return family;
  }
  throw bad_input("{}: architecture {} is not supported; supported are {}", file.where(), architectures.front(),
                  supported_architectures());
}

void read_sizes(const JsonObject& file, const Family& family, ModelConfig& config) {
  config.vocab_size = file.integer("vocab_size", 1, kMaxSize);
  config.hidden_size = file.integer("hidden_size", 1, kMaxSize);
  config.intermediate_size = file.integer("intermediate_size", 1, kMaxSize);
  config.num_hidden_layers = file.integer("num_hidden_layers", 1, kMaxLayers);
  config.num_attention_heads = file.integer("num_attention_heads", 1, kMaxHeads);
  config.max_position_embeddings =
      file.integer("max_position_embeddings", family.max_position_embeddings, 1, kMaxPositions);

  const bool heads_by_default = file.is_null("num_key_value_heads") || family.num_key_value_heads == kAbsent;
  const std::int64_t default_heads = heads_by_default ? config.num_attention_heads : family.num_key_value_heads;
  config.num_key_value_heads = file.integer("num_key_value_heads", default_heads, 1, kMaxHeads);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    throw bad_input("{}: `num_attention_heads` ({}) is not a multiple of `num_key_value_heads` ({})", file.where(),
                    config.num_attention_heads, config.num_key_value_heads);
  }

  const bool derived = !file.has("head_dim") && (file.is_null("head_dim") || family.head_dim == kAbsent);
  if (derived && config.hidden_size % config.num_attention_heads != 0) {
    throw bad_input("{}: without `head_dim`, `hidden_size` ({}) must be a multiple of `num_attention_heads` ({})",
                    file.where(), config.hidden_size, config.num_attention_heads);
  }
  config.head_dim = derived ? config.hidden_size / config.num_attention_heads
                            : file.integer("head_dim", family.head_dim, 1, kMaxHeadDim);
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    throw bad_input("{}: heads of {} values; rotary embedding needs an even number up to {}", file.where(),
                    config.head_dim, kMaxHeadDim);
  }
  if (config.q_size() > kMaxSize) {
    throw bad_input("{}: `num_attention_heads` ({}) times `head_dim` ({}) is more than the {} supported", file.where(),
                    config.num_attention_heads, config.head_dim, kMaxSize);
  }
}

void read_switches(const JsonObject& file, const Family& family, ModelConfig& config) {
  config.rms_norm_eps = file.number("rms_norm_eps", 1e-6, 0.0, 1.0);
  config.tie_word_embeddings = file.boolean("tie_word_embeddings", false);
  config.qk_norm = family.qk_norm;
  const bool attention_bias = family.has_attention_bias && file.boolean("attention_bias", false);
  config.qkv_bias = family.always_qkv_bias || attention_bias;
  config.attention_output_bias = attention_bias;
  config.mlp_bias = family.has_mlp_bias && file.boolean("mlp_bias", false);

  const std::string activation = file.string("hidden_act", "silu");
  if (activation != "silu") file.refuse("hidden_act", "\"silu\" is supported");
  if (file.has("quantization_config")) {
    throw bad_input(
        "{}: the checkpoint is quantized (`quantization_config`); training needs the unquantized weights: name the "
        "checkpoint that it was made from, in bf16, f16 or f32",
        file.where());
  }
  if (file.number("attention_dropout", 0.0, 0.0, 1.0) != 0.0) {
    log::warning("{}: `attention_dropout` {} is not applied: attention runs without dropout", file.where(),
                 file.show("attention_dropout"));
  }
}

std::int64_t read_sliding_window(const JsonObject& file, const Family& family, std::int64_t num_hidden_layers) {
  constexpr std::int64_t kDefaultWindow = 4096;
  const std::string_view architecture = family.architecture;
  if (architecture == "LlamaForCausalLM") return 0;
  const std::int64_t window =
      file.is_null("sliding_window") ? 0 : file.integer("sliding_window", kDefaultWindow, 1, kMaxPositions);
  if (architecture == "MistralForCausalLM") return window;

  const bool use = file.boolean("use_sliding_window", false) && window > 0;
  if (!file.has("layer_types")) {
    constexpr std::int64_t kDefaultFullLayers = 28;
    return use && num_hidden_layers > file.integer("max_window_layers", kDefaultFullLayers, 0, kMaxSize) ? window : 0;
  }
  const auto layer_types = file.strings("layer_types");
  if (static_cast<std::int64_t>(layer_types.size()) != num_hidden_layers) {
    throw bad_input("{}: `layer_types` has {} entries for {} layers", file.where(), layer_types.size(),
                    num_hidden_layers);
  }
  bool slides = false;
  for (const std::string& type : layer_types) {
    if (type != "full_attention" && type != "sliding_attention") {
      throw bad_input("{}: `layer_types` names \"{}\"; full_attention and sliding_attention are supported",
                      file.where(), type);
    }
    slides = slides || type == "sliding_attention";
  }
  if (slides && !use) {
    throw bad_input("{}: `layer_types` has sliding_attention but `use_sliding_window` and `sliding_window` give none",
                    file.where());
  }
  return slides ? window : 0;
}

void read_scaled_rope(const JsonObject& rope, const ModelConfig& config, RopeConfig& result) {
  constexpr double kLarge = 1e6;
  if (result.type == RopeType::kYarn && rope.is_null("factor")) {
    result.factor = static_cast<double>(config.max_position_embeddings) /
                    static_cast<double>(result.original_max_position_embeddings);
  } else {
    result.factor = rope.number("factor", 1e-3, kLarge);
  }
  if (result.type == RopeType::kLlama3) {
    result.low_freq_factor = rope.number("low_freq_factor", 1e-6, kLarge);
    result.high_freq_factor = rope.number("high_freq_factor", 1e-6, kLarge);
    if (result.high_freq_factor <= result.low_freq_factor) {
      rope.refuse("high_freq_factor", fmt::format("it must be above `low_freq_factor` ({})", result.low_freq_factor));
    }
  }
  if (result.type == RopeType::kYarn) {
    const auto or_default = [](double value, double otherwise) { return value == 0.0 ? otherwise : value; };
    result.beta_fast = or_default(rope.number("beta_fast", 0.0, 0.0, kLarge), 32.0);
    result.beta_slow = or_default(rope.number("beta_slow", 0.0, 0.0, kLarge), 1.0);
    result.attention_factor = rope.number("attention_factor", 0.0, 1e-6, kLarge);
    result.mscale = rope.number("mscale", 0.0, 0.0, kLarge);
    result.mscale_all_dim = rope.number("mscale_all_dim", 0.0, 0.0, kLarge);
    result.truncate = rope.boolean("truncate", true);
    if (result.theta <= 1.0) rope.refuse("rope_theta", "yarn needs one above 1");
  }
}

/// Older files: `rope_theta` beside `rope_scaling`, whose kind is `type` or `rope_type`. Newer ones: `rope_parameters`
/// with all of it. As transformers, `rope_scaling` wins and an inner `rope_theta` wins over the outer one.
RopeConfig read_rope(const JsonObject& file, const ModelConfig& config) {
  RopeConfig result;
  constexpr double kSmallest = 1e-3, kLargest = 1e15;
  result.theta = file.number("rope_theta", result.theta, kSmallest, kLargest);
  const auto refuse_partial = [](const JsonObject& object) {
    if (object.number("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0) {
      object.refuse("partial_rotary_factor", "rotary embedding of whole heads (1.0) is supported");
    }
  };
  refuse_partial(file);
  const bool older = file.has("rope_scaling") && !file.find("rope_scaling")->empty();
  if (!older && !file.has("rope_parameters")) return result;

  const JsonObject rope = file.object(older ? "rope_scaling" : "rope_parameters");
  refuse_partial(rope);
  for (const char* nested : {"full_attention", "sliding_attention"}) {
    if (rope.has(nested)) rope.refuse(nested, "one set of rotary settings for all layers is supported");
  }
  result.theta = rope.number("rope_theta", result.theta, kSmallest, kLargest);
  const char* key = rope.has("rope_type") || !rope.has("type") ? "rope_type" : "type";
  const std::string type = rope.string(key, "default");
  if (type == "default") return result;
  if (type == "linear") {
    result.type = RopeType::kLinear;
  } else if (type == "llama3") {
    result.type = RopeType::kLlama3;
  } else if (type == "yarn") {
    result.type = RopeType::kYarn;
  } else {
    rope.refuse(key, "default, linear, llama3 and yarn are supported");
  }
  if (result.type != RopeType::kLinear) {
    const char* original = "original_max_position_embeddings";
    const JsonObject& holder = file.has(original) ? file : rope;
    result.original_max_position_embeddings =
        holder.integer(original, config.max_position_embeddings, 1, kMaxPositions);
  }
  read_scaled_rope(rope, config, result);
  return result;
}

void add_token_ids(const std::vector<std::int64_t>& ids, std::vector<std::int64_t>& all) {
  for (const std::int64_t id : ids) {
    if (id >= 0 && std::find(all.begin(), all.end(), id) == all.end()) all.push_back(id);
  }
}

void read_token_ids(const JsonObject& file, const Family& family, ModelConfig& config) {
  add_token_ids(file.integers("eos_token_id"), config.eos_token_ids);
  const bool names_eos = file.has("eos_token_id") || file.is_null("eos_token_id");
  if (!names_eos && family.eos_token_id != kAbsent) config.eos_token_ids = {family.eos_token_id};
  const auto bos = file.integers("bos_token_id");
  const bool names_bos = !bos.empty() || file.is_null("bos_token_id");
  config.bos_token_id = names_bos ? (bos.empty() ? kAbsent : std::max(bos.front(), kAbsent)) : family.bos_token_id;
}

}  // namespace

ModelConfig parse_model_config(std::string_view json, const std::string& where) {
  const nlohmann::json tree = parse_json_object(json, where);
  const JsonObject file(tree, where);
  const Family& family = find_family(file);
  ModelConfig config;
  config.architecture = family.architecture;
  config.model_type = family.model_type;
  config.json = std::string(json);
  read_sizes(file, family, config);
  read_switches(file, family, config);
  config.sliding_window = read_sliding_window(file, family, config.num_hidden_layers);
  config.rope = read_rope(file, config);
  read_token_ids(file, family, config);
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw bad_input("{}: not a directory; a Hugging Face checkpoint is one, with config.json and *.safetensors",
                    folder.string());
  }
  const std::filesystem::path path = folder / "config.json";
  if (!std::filesystem::exists(path)) {
    throw bad_input("{}: no config.json there; is it a Hugging Face checkpoint?", folder.string());
  }
  ModelConfig config = parse_model_config(read_text(path), path.string());

  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    const nlohmann::json tree = parse_json_object(read_text(generation), generation.string());
    add_token_ids(JsonObject(tree, generation.string()).integers("eos_token_id"), config.eos_token_ids);
  }
  return config;
}

std::int64_t ModelConfig::parameter_count() const {
  const std::int64_t norms_per_layer = 2 * hidden_size + (qk_norm ? 2 * head_dim : 0);
  const std::int64_t biases_per_layer = (qkv_bias ? q_size() + 2 * kv_size() : 0) +
                                        (attention_output_bias ? hidden_size : 0) +
                                        (mlp_bias ? 2 * intermediate_size + hidden_size : 0);
  const std::int64_t lookup = tie_word_embeddings ? 0 : vocab_size * hidden_size;
  return matrix_parameter_count() + lookup + hidden_size + num_hidden_layers * (norms_per_layer + biases_per_layer);
}

std::int64_t ModelConfig::matrix_parameter_count() const {
  const std::int64_t attention = 2 * hidden_size * (q_size() + kv_size());
  const std::int64_t mlp = 3 * hidden_size * intermediate_size;
  return num_hidden_layers * (attention + mlp) + vocab_size * hidden_size;
}

}  // namespace primus::model
