#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/hf.h"
#include "checkpoint/safetensors.h"
#include "support.h"

namespace primus::checkpoint {
namespace {

using nlohmann::json;

std::vector<float> stored_values(const ModelFiles& files, const std::string& name) {
  const StoredTensor* tensor = files.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  std::vector<float> result(tensor->data.size() / 4);
  std::memcpy(result.data(), tensor->data.data(), tensor->data.size());
  return result;
}

/// Writes a safetensors file with the reference's tensors after `change` has had its say.
template <typename Change>
void rewrite(const std::string& model, const fs::path& folder, const Change& change) {
  fs::create_directories(folder);
  fs::copy_file(reference(model) / "hf" / "config.json", folder / "config.json", fs::copy_options::overwrite_existing);
  const ModelFiles files(reference(model) / "hf");
  std::map<std::string, std::pair<std::vector<std::int64_t>, std::vector<std::byte>>> tensors;
  for (const StoredTensor* tensor : files.tensors()) {
    tensors[tensor->name] = {tensor->shape, {tensor->data.begin(), tensor->data.end()}};
  }
  change(tensors);
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const auto& [name, content] : tensors) specs.emplace_back(name, DType::kF32, content.first);
  SafetensorsWriter writer(folder / "model.safetensors", specs);
  for (const TensorSpec& spec : writer.tensors()) writer.write(tensors.at(spec.name).second);
  writer.finish();
}

class HuggingFace : public testing::TestWithParam<const char*> {
 protected:
  model::ModelConfig config() const { return model::load_model_config(reference(GetParam()) / "hf"); }
  fs::path source() const { return reference(GetParam()) / "hf"; }
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Models, HuggingFace, testing::Values("qwen3", "qwen3_tied", "qwen2", "llama31"));

TEST_P(HuggingFace, ImportFillsEveryView) {
  TinyModel memory(config(), {});
  load_weights(source(), memory.registry(), memory.stream());
  const ModelFiles files(source());
  for (const model::Parameter& parameter : memory.registry().all()) {
    EXPECT_EQ(values(parameter.weight), stored_values(files, parameter.name)) << parameter.name;
  }
  EXPECT_EQ(memory.registry().count(), config().parameter_count());
}

TEST_P(HuggingFace, MastersKeepTheFullPrecision) {
  TinyModel memory(config(), {.compute = DType::kBF16});
  load_weights(source(), memory.registry(), memory.stream());
  const ModelFiles files(source());
  for (const model::Parameter& parameter : memory.registry().all()) {
    const std::vector<float> exact = stored_values(files, parameter.name);
    EXPECT_EQ(values(parameter.master), exact) << parameter.name;
    std::vector<float> rounded = exact;
    for (float& value : rounded) value = static_cast<float>(BFloat16(value));
    EXPECT_EQ(values(parameter.weight), rounded) << parameter.name;
  }
}

TEST_P(HuggingFace, ImportLeavesAdapterColumnsAlone) {
  TinyModel memory(config(), {.compute = DType::kBF16, .lora_rank = 4});
  model::Parameter& b = memory["model.layers.1.mlp.up_proj.lora_B.weight"];
  fill(b.published, 3);
  const std::vector<float> before = values(b.published);
  load_weights(source(), memory.registry(), memory.stream());
  EXPECT_EQ(values(b.published), before);
  const ModelFiles files(source());
  std::vector<float> rounded = stored_values(files, "model.layers.1.mlp.up_proj.weight");
  for (float& value : rounded) value = static_cast<float>(BFloat16(value));
  EXPECT_EQ(values(memory["model.layers.1.mlp.up_proj.weight"].weight), rounded);
}

TEST_P(HuggingFace, ExportInF32IsTheImportedFile) {
  TinyModel memory(config(), {.compute = DType::kBF16});
  load_weights(source(), memory.registry(), memory.stream());
  save_model(folder_ / "out", memory.registry(), config(), memory.stream(), {.source = source()});
  EXPECT_EQ(read_bytes(folder_ / "out/model.safetensors"), read_bytes(source() / "model.safetensors"));
  EXPECT_EQ(read_bytes(folder_ / "out/generation_config.json"), read_bytes(source() / "generation_config.json"));
  EXPECT_EQ(json::parse(read_bytes(folder_ / "out/config.json")), json::parse(read_bytes(source() / "config.json")));
}

TEST_P(HuggingFace, ShardedBFloat16RoundTrip) {
  TinyModel memory(config(), {});
  load_weights(source(), memory.registry(), memory.stream());
  save_model(folder_ / "out", memory.registry(), config(), memory.stream(),
             {.dtype = DType::kBF16, .max_shard_bytes = 100'000});
  EXPECT_TRUE(fs::exists(folder_ / "out/model.safetensors.index.json"));
  EXPECT_EQ(json::parse(read_bytes(folder_ / "out/config.json")).at("dtype"), "bfloat16");

  TinyModel again(config(), {.compute = DType::kBF16});
  load_weights(folder_ / "out", again.registry(), again.stream());
  for (const model::Parameter& parameter : memory.registry().all()) {
    std::vector<float> rounded = values(parameter.weight);
    for (float& value : rounded) value = static_cast<float>(BFloat16(value));
    EXPECT_EQ(values(again[parameter.name].master), rounded) << parameter.name;
  }
}

TEST(HuggingFaceImport, TiedModelsPassOverTheHead) {
  TemporaryFolder folder;
  rewrite("qwen3_tied", folder.path(), [](auto& tensors) {
    tensors["lm_head.weight"] = {{1}, std::vector<std::byte>(4)};
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{2}, std::vector<std::byte>(8)};
    tensors["something.else"] = {{2}, std::vector<std::byte>(8)};
  });
  const model::ModelConfig config = model::load_model_config(folder.path());
  TinyModel memory(config, {});
  testing::internal::CaptureStderr();
  load_weights(folder.path(), memory.registry(), memory.stream());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("something.else"), std::string::npos) << log;
  EXPECT_EQ(log.find("lm_head"), std::string::npos) << log;
  EXPECT_EQ(log.find("inv_freq"), std::string::npos) << log;
}

TEST(HuggingFaceImport, NamesWhatIsMissingOrOfAnotherShape) {
  TemporaryFolder folder;
  const model::ModelConfig config = model::load_model_config(reference("qwen2") / "hf");
  TinyModel memory(config, {});
  const auto load = [&] { load_weights(folder.path(), memory.registry(), memory.stream()); };
  rewrite("qwen2", folder.path(), [](auto& tensors) { tensors.erase("model.layers.1.self_attn.k_proj.bias"); });
  expect_error(load, {"model.safetensors", "model.layers.1.self_attn.k_proj.bias", "(32)", "missing"});
  rewrite("qwen2", folder.path(), [](auto& tensors) { tensors["model.norm.weight"].first = {8, 8}; });
  expect_error(load, {"model.safetensors", "model.norm.weight", "(8, 8)", "(64)"});
  rewrite("qwen2", folder.path(), [](auto& tensors) {
    tensors["model.layers.0.mlp.up_proj.weight"].first = {64, 128};  // transposed: as many elements
  });
  expect_error(load, {"model.layers.0.mlp.up_proj.weight", "(64, 128)", "(128, 64)"});
}

TEST(HuggingFaceImport, ValuesBeyondHalfAreNamed) {
  TemporaryFolder folder;
  rewrite("qwen2", folder.path(), [](auto& tensors) {
    const float large = 1e6F;
    std::memcpy(tensors["model.norm.weight"].second.data(), &large, 4);
  });
  TinyModel memory(model::load_model_config(folder.path()), {.compute = DType::kF16});
  expect_error([&] { load_weights(folder.path(), memory.registry(), memory.stream()); },
               {"model.norm.weight", "too large for f16", "bf16"});
}

TEST(HuggingFaceExport, CopiesTheTokenizerAndKeepsTheConfiguration) {
  TemporaryFolder folder;
  rewrite("llama31", folder / "source", [](auto&) {});
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
    write_bytes(folder.path() / "source" / name, name);
  }
  write_bytes(folder / "source/training_args.bin", "x");
  write_bytes(folder / "source/config.json",
              R"({"zeta": 1e-05, "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "vocab_size": 512,
                  "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
                  "num_key_value_heads": 1, "unknown": {"kept": [1, 2.5, null]}})");
  const model::ModelConfig config = model::load_model_config(folder / "source");
  TinyModel memory(config, {});
  load_weights(folder / "source", memory.registry(), memory.stream());
  save_model(folder / "out", memory.registry(), config, memory.stream(), {.source = folder / "source"});
  EXPECT_EQ(read_bytes(folder / "out/chat_template.jinja"), "chat_template.jinja");
  EXPECT_TRUE(fs::exists(folder / "out/tokenizer.json"));
  EXPECT_FALSE(fs::exists(folder / "out/training_args.bin"));
  EXPECT_EQ(ModelFiles(folder / "out").tensors().front()->dtype, "BF16");
  EXPECT_TRUE(read_bytes(folder / "out/config.json").starts_with("{\n  \"zeta\": 1e-05,\n  \"architectures\""));
  save_model(folder / "f16", memory.registry(), config, memory.stream(), {.dtype = DType::kF16});
  const json changed = json::parse(read_bytes(folder / "f16/config.json"));
  EXPECT_EQ(changed.at("torch_dtype"), "float16");
  EXPECT_FALSE(changed.contains("dtype"));
  EXPECT_EQ(changed.at("unknown").at("kept").at(1), 2.5);
}

TEST(HuggingFaceExport, AFailureLeavesTheOldFolder) {
  TemporaryFolder folder;
  const model::ModelConfig config = model::load_model_config(reference("qwen2") / "hf");
  TinyModel memory(config, {});
  load_weights(reference("qwen2") / "hf", memory.registry(), memory.stream());
  save_model(folder / "out", memory.registry(), config, memory.stream());
  const std::string before = read_bytes(folder / "out/model.safetensors");
  fill(memory["model.norm.weight"].master, 5);
  const std::string message =
      with_file_size_limit(100'000, [&] { save_model(folder / "out", memory.registry(), config, memory.stream()); });
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
  EXPECT_EQ(read_bytes(folder / "out/model.safetensors"), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace primus::checkpoint
