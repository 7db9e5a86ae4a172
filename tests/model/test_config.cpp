#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "model/config.h"

namespace primus::model {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json smallest(const std::string& architecture) {
  return {{"architectures", {architecture}}, {"vocab_size", 100},      {"hidden_size", 64},
          {"intermediate_size", 128},        {"num_hidden_layers", 2}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2}};
}

ModelConfig parse(const json& tree) { return parse_model_config(tree.dump(), "config.json"); }

/// The message of the Error that parsing throws, or "" when it does not.
std::string refusal(const std::string& text) {
  try {
    parse_model_config(text, "dir/config.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    return error.what();
  }
  return "";
}

void expect_refusal(const json& tree, const std::vector<std::string>& words) {
  const std::string message = refusal(tree.dump());
  EXPECT_NE(message, "");
  for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << word << " in: " << message;
}

TEST(ModelConfig, ReadsTheReferenceModels) {
  const fs::path folder = fs::path(PRIMUS_TEST_DATA) / "reference";
  const ModelConfig qwen3 = load_model_config(folder / "qwen3" / "hf");
  EXPECT_EQ(qwen3.model_type, "qwen3");
  EXPECT_EQ(qwen3.hidden_size, 96);
  EXPECT_EQ(qwen3.head_dim, 16);
  EXPECT_EQ(qwen3.num_key_value_heads, 2);
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_FALSE(qwen3.tie_word_embeddings);
  EXPECT_EQ(qwen3.rope.theta, 1e6);
  EXPECT_TRUE(qwen3.eos_token_ids.empty());

  const ModelConfig llama = load_model_config(folder / "llama31" / "hf");
  EXPECT_EQ(llama.rope.type, RopeType::kLlama3);
  EXPECT_EQ(llama.rope.factor, 8.0);
  EXPECT_EQ(llama.rope.original_max_position_embeddings, 32);
  EXPECT_EQ(llama.eos_token_ids, std::vector<std::int64_t>{2});
  EXPECT_EQ(llama.bos_token_id, 1);

  const ModelConfig qwen2 = load_model_config(folder / "qwen2" / "hf");
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.attention_output_bias);
  EXPECT_EQ(qwen2.sliding_window, 0);
  EXPECT_EQ(qwen2.head_dim, 16);
}

TEST(ModelConfig, CountsParameters) {
  // elements of the reference checkpoints' tensors, lm_head of a tied model not stored
  const fs::path folder = fs::path(PRIMUS_TEST_DATA) / "reference";
  for (const char* name : {"qwen3", "qwen3_tied", "qwen2", "llama31"}) {
    const MappedFile file(folder / name / "hf" / "model.safetensors");
    std::uint64_t header = 0;
    std::memcpy(&header, file.bytes().data(), sizeof(header));
    const auto bytes = static_cast<std::int64_t>(file.bytes().size() - 8 - header);
    EXPECT_EQ(load_model_config(folder / name / "hf").parameter_count(), bytes / 4) << name;
  }
  json tree = smallest("LlamaForCausalLM");
  tree["mlp_bias"] = true;
  tree["attention_bias"] = true;
  const ModelConfig config = parse(tree);
  const std::int64_t matrices = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128) + 100 * 64;
  EXPECT_EQ(config.matrix_parameter_count(), matrices);
  EXPECT_EQ(config.parameter_count(), matrices + 100 * 64 + 64 + 2 * (2 * 64 + (64 + 2 * 32) + 64 + (2 * 128 + 64)));
}

TEST(ModelConfig, TakesTheDefaultsOfTransformers) {
  json tree = smallest("LlamaForCausalLM");
  tree.erase("num_key_value_heads");
  const ModelConfig llama = parse(tree);
  EXPECT_EQ(llama.num_key_value_heads, 4);
  EXPECT_EQ(llama.head_dim, 16);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_EQ(llama.rms_norm_eps, 1e-6);
  EXPECT_EQ(llama.rope.theta, 10000.0);
  EXPECT_EQ(llama.bos_token_id, 1);
  EXPECT_EQ(llama.eos_token_ids, std::vector<std::int64_t>{2});
  EXPECT_FALSE(llama.tie_word_embeddings);

  const ModelConfig qwen3 = parse(smallest("Qwen3ForCausalLM"));
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_EQ(qwen3.max_position_embeddings, 32768);
  EXPECT_EQ(qwen3.bos_token_id, -1);
  EXPECT_TRUE(qwen3.eos_token_ids.empty());

  tree = smallest("MistralForCausalLM");
  tree["head_dim"] = nullptr;
  tree["num_attention_heads"] = 8;
  tree.erase("num_key_value_heads");
  const ModelConfig mistral = parse(tree);
  EXPECT_EQ(mistral.num_key_value_heads, 8);
  EXPECT_EQ(mistral.head_dim, 8);
  EXPECT_EQ(mistral.sliding_window, 4096);
  EXPECT_EQ(mistral.max_position_embeddings, 131072);

  tree["num_key_value_heads"] = nullptr;
  tree["num_attention_heads"] = 16;
  EXPECT_EQ(parse(tree).num_key_value_heads, 16);

  tree = smallest("Qwen2ForCausalLM");
  tree.erase("architectures");
  tree["model_type"] = "qwen2";
  EXPECT_EQ(parse(tree).architecture, "Qwen2ForCausalLM");
}

TEST(ModelConfig, BiasesFollowTheArchitecture) {
  for (const char* name : {"LlamaForCausalLM", "Qwen3ForCausalLM"}) {
    json tree = smallest(name);
    EXPECT_FALSE(parse(tree).qkv_bias);
    tree["attention_bias"] = true;
    EXPECT_TRUE(parse(tree).qkv_bias);
    EXPECT_TRUE(parse(tree).attention_output_bias);
  }
  json tree = smallest("MistralForCausalLM");
  tree["attention_bias"] = true;  // Mistral's class does not know the key
  EXPECT_FALSE(parse(tree).qkv_bias);
}

TEST(ModelConfig, SlidingWindowOnlyWhereItIsActive) {
  json tree = smallest("MistralForCausalLM");
  tree["sliding_window"] = nullptr;
  EXPECT_EQ(parse(tree).sliding_window, 0);
  tree["sliding_window"] = 512;
  EXPECT_EQ(parse(tree).sliding_window, 512);

  tree = smallest("Qwen2ForCausalLM");
  tree["sliding_window"] = 512;
  EXPECT_EQ(parse(tree).sliding_window, 0);
  tree["use_sliding_window"] = true;
  EXPECT_EQ(parse(tree).sliding_window, 0);  // max_window_layers is 28
  tree["max_window_layers"] = 1;
  EXPECT_EQ(parse(tree).sliding_window, 512);
  tree["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_EQ(parse(tree).sliding_window, 0);
  tree["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_EQ(parse(tree).sliding_window, 512);
  tree["layer_types"] = {"full_attention", "linear_attention"};
  expect_refusal(tree, {"linear_attention"});
  tree["layer_types"] = {"full_attention"};
  expect_refusal(tree, {"layer_types", "1 entries for 2 layers"});
}

TEST(ModelConfig, BothFormsOfRotarySettings) {
  json older = smallest("LlamaForCausalLM");
  older["rope_theta"] = 5e5;
  older["rope_scaling"] = {{"rope_type", "llama3"},
                           {"factor", 8.0},
                           {"low_freq_factor", 1.0},
                           {"high_freq_factor", 4.0},
                           {"original_max_position_embeddings", 8192}};
  json newer = smallest("LlamaForCausalLM");
  newer["rope_parameters"] = older["rope_scaling"];
  newer["rope_parameters"]["rope_theta"] = 5e5;
  for (const json& tree : {older, newer}) {
    const ModelConfig config = parse(tree);
    EXPECT_EQ(config.rope.type, RopeType::kLlama3);
    EXPECT_EQ(config.rope.theta, 5e5);
    EXPECT_EQ(config.rope.factor, 8.0);
    EXPECT_EQ(config.rope.original_max_position_embeddings, 8192);
  }

  json tree = smallest("Qwen2ForCausalLM");
  tree["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  EXPECT_EQ(parse(tree).rope.type, RopeType::kLinear);
  tree["rope_scaling"] = nullptr;
  EXPECT_EQ(parse(tree).rope.type, RopeType::kDefault);
  tree["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  EXPECT_EQ(parse(tree).rope.type, RopeType::kYarn);
  EXPECT_EQ(parse(tree).rope.beta_fast, 32.0);
  EXPECT_TRUE(parse(tree).rope.truncate);
  tree["rope_scaling"] = {{"type", "dynamic"}, {"factor", 4.0}};
  expect_refusal(tree, {"dynamic", "yarn", "rope_scaling"});
  tree["rope_scaling"] = {{"type", "linear"}};
  expect_refusal(tree, {"factor", "missing"});
  tree["rope_scaling"] = json::object();
  tree["partial_rotary_factor"] = 0.5;
  expect_refusal(tree, {"partial_rotary_factor", "0.5"});
}

TEST(ModelConfig, EndOfSequenceIds) {
  json tree = smallest("Qwen3ForCausalLM");
  tree["eos_token_id"] = 7;
  EXPECT_EQ(parse(tree).eos_token_ids, std::vector<std::int64_t>{7});
  tree["eos_token_id"] = {7, 9, 7};
  EXPECT_EQ(parse(tree).eos_token_ids, (std::vector<std::int64_t>{7, 9}));

  const fs::path folder = fs::temp_directory_path() / ("primus_config_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  write_text(folder / "config.json", tree.dump());
  write_text(folder / "generation_config.json", R"({"eos_token_id": [9, 11]})");
  EXPECT_EQ(load_model_config(folder).eos_token_ids, (std::vector<std::int64_t>{7, 9, 11}));
  EXPECT_EQ(load_model_config(folder).json, tree.dump());
  write_text(folder / "generation_config.json", R"({"eos_token_id": "x"})");
  EXPECT_THROW(load_model_config(folder), Error);
  fs::remove_all(folder);
  EXPECT_THROW(load_model_config(folder), Error);
}

TEST(ModelConfig, RefusesWhatItCannotRun) {
  json tree = smallest("GPT2LMHeadModel");
  expect_refusal(tree, {"dir/config.json", "GPT2LMHeadModel", "Qwen3ForCausalLM", "MistralForCausalLM"});
  tree = smallest("Qwen3ForCausalLM");
  tree["model_type"] = "llama";
  expect_refusal(tree, {"model_type", "llama", "qwen3"});
  tree = smallest("Qwen3ForCausalLM");
  tree["hidden_act"] = "gelu";
  expect_refusal(tree, {"hidden_act", "gelu", "silu"});
  tree = smallest("Qwen3ForCausalLM");
  tree["quantization_config"] = {{"quant_method", "fp8"}};
  expect_refusal(tree, {"quantized", "unquantized"});
  tree = smallest("Qwen3ForCausalLM");
  tree["num_key_value_heads"] = 3;
  expect_refusal(tree, {"num_attention_heads", "4", "3"});
  tree = smallest("LlamaForCausalLM");
  tree["hidden_size"] = 66;
  expect_refusal(tree, {"hidden_size", "66", "head_dim"});
  tree = smallest("Qwen3ForCausalLM");
  tree["head_dim"] = 15;
  expect_refusal(tree, {"15", "even"});
}

TEST(ModelConfig, RefusesWrongTypesAndSizes) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    for (const json& value : {json(nullptr), json(0), json(-4), json("64"), json(64.5), json(true), json(1e300),
                              json(UINT64_MAX), json(INT64_MAX), json::array({64}), json::object()}) {
      json tree = smallest("Qwen3ForCausalLM");
      tree[key] = value;
      expect_refusal(tree, {"dir/config.json", key});
    }
    json tree = smallest("Qwen3ForCausalLM");
    tree.erase(key);
    expect_refusal(tree, {key, "missing"});
  }
  json tree = smallest("Qwen3ForCausalLM");
  tree["tie_word_embeddings"] = "yes";
  expect_refusal(tree, {"tie_word_embeddings", "yes", "true or false"});
  tree = smallest("Qwen3ForCausalLM");
  tree["num_attention_heads"] = 1 << 14;
  tree["head_dim"] = 1 << 12;
  expect_refusal(tree, {"head_dim"});
  EXPECT_NE(refusal("").find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal("[1]").find("object"), std::string::npos);
  EXPECT_NE(refusal(R"({"a": )" + std::string(100000, '[')).find("deeper"), std::string::npos);
  EXPECT_NE(refusal(R"({"architectures": "Qwen3ForCausalLM"})").find("list of strings"), std::string::npos);
}

// Every point is what transformers 5 computes (LlamaRotaryEmbedding, f32); the angles' own rounding is the same here,
// so what remains is the last bit of a cosine.
TEST(RopeTable, EqualsTransformers) {
  const json cases = json::parse(read_text(fs::path(PRIMUS_TEST_DATA) / "rope_reference.json"));
  ASSERT_EQ(cases.size(), 7U);
  for (const json& one : cases) {
    const ModelConfig config = parse(one.at("config"));
    const RopeTable table = make_rope_table(config, 4096);
    const auto half = static_cast<std::size_t>(config.head_dim / 2);
    ASSERT_EQ(table.cos.size(), 4096 * half);
    for (const json& point : one.at("position_dimension_cos_sin")) {
      const std::size_t at = point[0].get<std::size_t>() * half + point[1].get<std::size_t>();
      EXPECT_NEAR(table.cos[at], point[2].get<double>(), 1e-6) << one["name"] << point;
      EXPECT_NEAR(table.sin[at], point[3].get<double>(), 1e-6) << one["name"] << point;
    }
  }
}

}  // namespace
}  // namespace primus::model
