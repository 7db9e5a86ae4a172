#include "config/presets.h"
#include "config/show.h"
#include "config/yaml_tree.h"
#include "support.h"

namespace primus::config {
namespace {

class PresetsTest : public ConfigTest {
 protected:
  YamlNode shape_of(const std::string& preset) const {
    return parse_yaml(load({{}, {{"model", preset}}, environment()}).config.model_config_json, preset);
  }
  static std::int64_t number(const YamlNode& shape, std::string_view key) { return std::stoll(shape.find(key)->text); }

  /// Weights of embedding, head (unless tied), projections, norms, and what the architecture adds.
  static std::int64_t parameters(const YamlNode& shape) {
    const std::int64_t hidden = number(shape, "hidden_size"), vocab = number(shape, "vocab_size");
    const std::int64_t head_dim = number(shape, "head_dim");
    const std::int64_t q = number(shape, "num_attention_heads") * head_dim;
    const std::int64_t kv = number(shape, "num_key_value_heads") * head_dim;
    const std::string& type = shape.find("model_type")->text;
    std::int64_t layer = hidden * (2 * q + 2 * kv) + 3 * hidden * number(shape, "intermediate_size") + 2 * hidden;
    if (type == "qwen3") layer += 2 * head_dim;  // norms of q and k
    if (type == "qwen2") layer += q + 2 * kv;    // biases of q, k and v
    const std::int64_t tables = shape.find("tie_word_embeddings")->text == "true" ? 1 : 2;
    return tables * vocab * hidden + number(shape, "num_hidden_layers") * layer + hidden;
  }
};

/// The published totals of each checkpoint (the sum over its safetensors) hang on every size of the shape.
TEST_F(PresetsTest, ShapesHaveThePublishedNumberOfParameters) {
  const std::pair<const char*, std::int64_t> published[] = {
      {"qwen3_0.6b", 596'049'920},     {"qwen3_1.7b", 1'720'574'976},   {"qwen3_4b", 4'022'468'096},
      {"qwen3_8b", 8'190'735'360},     {"qwen3_14b", 14'768'307'200},   {"qwen3_32b", 32'762'123'264},
      {"qwen2.5_0.5b", 494'032'768},   {"qwen2.5_1.5b", 1'543'714'304}, {"qwen2.5_3b", 3'085'938'688},
      {"qwen2.5_7b", 7'615'616'512},   {"qwen2.5_14b", 14'770'033'664}, {"qwen2.5_32b", 32'763'876'352},
      {"qwen2.5_72b", 72'706'203'648}, {"llama3.1_8b", 8'030'261'248},  {"llama3.1_70b", 70'553'706'496},
      {"llama3.2_1b", 1'235'814'400},  {"llama3.2_3b", 3'212'749'824},  {"mistral_7b", 7'248'023'552},
      {"smollm2_135m", 134'515'008},   {"smollm2_360m", 361'821'120},   {"smollm2_1.7b", 1'711'376'384},
  };
  for (const auto& [preset, total] : published) EXPECT_EQ(parameters(shape_of(preset)), total) << preset;
}

TEST_F(PresetsTest, EveryPresetOfTheProjectLoads) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(PRIMUS_SOURCE_DIR "/configs/models/megatron_bridge")) {
    const RunConfig config = load({{}, {{"model", entry.path().filename().string()}}, environment()}).config;
    EXPECT_FALSE(config.hf_path.empty()) << entry.path();
    EXPECT_FALSE(config.model_config_json.empty()) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 21);
}

TEST_F(PresetsTest, EveryTrainerPresetAndExampleOfTheProjectLoads) {
  const std::filesystem::path root(PRIMUS_SOURCE_DIR);
  for (const auto& entry : std::filesystem::directory_iterator(root / "configs/modules/megatron_bridge")) {
    const Resolved resolved =
        load({{}, {{"model", "qwen3_8b"}, {"config", entry.path().filename().string()}}, environment()});
    EXPECT_TRUE(resolved.ignored_keys.empty()) << entry.path();
  }
  variables_["SMOLLM2"] = variables_["GSM8K"] = "somewhere";
  int examples = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "examples")) {
    if (entry.path().extension() != ".yaml") continue;
    const Resolved resolved = load_file(entry.path());
    EXPECT_TRUE(resolved.ignored_keys.empty()) << entry.path();
    ++examples;
  }
  EXPECT_GE(examples, 8);
}

/// A preset says what holds without it, so that reading it is reading the defaults.
TEST_F(PresetsTest, TheTrainerPresetIsTheDefaults) {
  RunConfig preset = load({{}, {{"model", "qwen3_8b"}, {"config", "sft_trainer.yaml"}}, environment()}).config;
  preset.config.clear();
  EXPECT_EQ(to_yaml(preset), to_yaml(load({{}, {{"model", "qwen3_8b"}}, environment()}).config));
}

TEST_F(PresetsTest, ModelConfigIsJson) {
  EXPECT_EQ(
      load({{}, {{"model", "llama3.2_1b"}}, environment()}).config.model_config_json,
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, )"
      R"("intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, )"
      R"("head_dim": 64, "max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": )"
      R"({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, )"
      R"("original_max_position_embeddings": 8192}, "rms_norm_eps": 1e-05, "tie_word_embeddings": true, )"
      R"("hidden_act": "silu", "attention_bias": false, "mlp_bias": false})");
}

TEST_F(PresetsTest, UnknownPresetsNameTheNearest) {
  EXPECT_EQ(error_of([&] { load_file(write_run({}, "model: qwen3_32.yaml")); }),
            "run.yaml:3:12: there is no model preset 'qwen3_32.yaml'; did you mean 'qwen3_32b.yaml'? (looked "
            "in " PRIMUS_SOURCE_DIR "/configs/models/megatron_bridge, " +
                folder_.string() + ", " + std::filesystem::current_path().string() + ")");
  EXPECT_TRUE(
      error_of([&] {
        load_file(write_run({}, "model: qwen3_8b\n    config: stf_trainer.yaml"));
      }).starts_with("run.yaml:4:13: there is no module preset 'stf_trainer.yaml'; did you mean 'sft_trainer.yaml'?"));
  EXPECT_TRUE(error_of([&] {
                load({{}, {{"model", "nothing_like_it"}}, environment()});
              }).starts_with("--model: there is no model preset 'nothing_like_it' (looked in "));
}

TEST_F(PresetsTest, PathsAreLookedForBesideTheRunFile) {
  write("presets/mine.yaml", "hf_path: org/mine\n");
  EXPECT_EQ(load_file(write_run({}, "model: presets/mine")).config.hf_path, "org/mine");
  EXPECT_EQ(load_file(write_run({}, "model: " + (folder_ / "presets/mine.yaml").string())).config.hf_path, "org/mine");
}

TEST_F(PresetsTest, TheProjectIsFoundFromTheExecutable) {
  EXPECT_EQ(project_root(environment()), std::filesystem::path(PRIMUS_SOURCE_DIR));
  variables_["PRIMUS_ROOT"] = "/elsewhere";
  EXPECT_EQ(project_root(environment()), "/elsewhere");
  variables_.erase("PRIMUS_ROOT");
  EXPECT_TRUE(std::filesystem::is_directory(project_root(environment()) / "configs" / "models"));
}

}  // namespace
}  // namespace primus::config
