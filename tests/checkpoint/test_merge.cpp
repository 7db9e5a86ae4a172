#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "checkpoint/hf.h"
#include "checkpoint/peft.h"
#include "checkpoint/safetensors.h"
#include "support.h"

namespace primus::checkpoint {
namespace {

std::vector<float> as_floats(const StoredTensor& tensor) {
  std::vector<float> result(static_cast<std::size_t>(tensor.numel()));
  if (tensor.dtype == "F32") {
    std::memcpy(result.data(), tensor.data.data(), tensor.data.size());
  } else {
    const auto* brains = reinterpret_cast<const BFloat16*>(tensor.data.data());
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<float>(brains[i]);
  }
  return result;
}

/// W + 2·B·A in f64
std::vector<double> merged_by_hand(const ModelFiles& model, const SafetensorsFile& adapter, const std::string& module) {
  const StoredTensor& weight = *model.find(module + ".weight");
  const std::vector<float> w = as_floats(weight);
  const std::vector<float> a = as_floats(*adapter.find("base_model.model." + module + ".lora_A.weight"));
  const std::vector<float> b = as_floats(*adapter.find("base_model.model." + module + ".lora_B.weight"));
  const auto rows = static_cast<std::size_t>(weight.shape[0]), columns = static_cast<std::size_t>(weight.shape[1]);
  std::vector<double> result(w.begin(), w.end());
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      for (std::size_t k = 0; k < 4; ++k) result[i * columns + j] += 2.0 * b[i * 4 + k] * a[k * columns + j];
    }
  }
  return result;
}

class Merge : public testing::TestWithParam<const char*> {
 protected:
  void compare(const fs::path& base, const fs::path& merged, double unit) {
    const ModelFiles before(base), after(merged);
    const SafetensorsFile adapter(reference(GetParam()) / "lora_final" / "adapter_model.safetensors");
    ASSERT_EQ(before.tensors().size(), after.tensors().size());
    int changed = 0;
    for (const StoredTensor* tensor : after.tensors()) {
      const StoredTensor& original = *before.find(tensor->name);
      EXPECT_EQ(tensor->dtype, original.dtype);
      EXPECT_EQ(tensor->shape, original.shape);
      if (tensor->name.find("_proj.weight") == std::string::npos) {
        EXPECT_TRUE(std::ranges::equal(tensor->data, original.data)) << tensor->name;
        continue;
      }
      ++changed;
      const std::string module = tensor->name.substr(0, tensor->name.size() - std::strlen(".weight"));
      const std::vector<double> expected = merged_by_hand(before, adapter, module);
      const std::vector<float> found = as_floats(*tensor);
      for (std::size_t i = 0; i < found.size(); ++i) {
        // rounded once to the type, after sums in f32
        ASSERT_NEAR(found[i], expected[i], unit * std::fabs(expected[i]) + 1e-7) << tensor->name << " " << i;
      }
    }
    EXPECT_EQ(changed, 7 * model::load_model_config(base).num_hidden_layers);
  }
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Models, Merge, testing::Values("qwen3", "qwen3_tied", "qwen2", "llama31"));

TEST_P(Merge, F32) {
  const fs::path base = reference(GetParam()) / "hf";
  merge_adapter(base, reference(GetParam()) / "lora_final", folder_ / "merged");
  compare(base, folder_ / "merged", 0x1p-22);
  EXPECT_EQ(read_bytes(folder_ / "merged/config.json"), read_bytes(base / "config.json"));
  EXPECT_TRUE(fs::exists(folder_ / "merged/generation_config.json"));
}

TEST_P(Merge, ShardedBFloat16) {
  const fs::path hf = reference(GetParam()) / "hf";
  const model::ModelConfig config = model::load_model_config(hf);
  TinyModel memory(config, {});
  load_weights(hf, memory.registry(), memory.stream());
  save_model(folder_ / "base", memory.registry(), config, memory.stream(),
             {.dtype = DType::kBF16, .max_shard_bytes = 60'000});
  merge_adapter(folder_ / "base", reference(GetParam()) / "lora_final", folder_ / "merged", 100'000);
  compare(folder_ / "base", folder_ / "merged", 0x1p-8);
}

/// A copy of a checkpoint's weights with one more tensor, or with one as another type, of bytes that count up.
void write_with(const fs::path& folder, const std::string& name, const std::string& dtype, std::uint64_t bytes) {
  const fs::path hf = reference("qwen3") / "hf";
  fs::create_directories(folder);
  fs::copy_file(hf / "config.json", folder / "config.json", fs::copy_options::overwrite_existing);
  const ModelFiles files(hf);
  std::vector<TensorSpec> specs;
  for (const StoredTensor* tensor : files.tensors()) {
    if (tensor->name != name) specs.emplace_back(*tensor);
  }
  TensorSpec odd(name, DType::kU8,
                 files.find(name) != nullptr ? files.find(name)->shape : std::vector<std::int64_t>{3});
  odd.dtype = dtype;
  odd.bytes = bytes;
  specs.push_back(odd);
  SafetensorsWriter writer(folder / "model.safetensors", specs);
  for (const TensorSpec& spec : writer.tensors()) {
    if (spec.name != name) {
      writer.write(files.find(spec.name)->data);
      continue;
    }
    std::vector<std::byte> content(bytes);
    for (std::size_t i = 0; i < bytes; ++i) content[i] = static_cast<std::byte>(i + 1);
    writer.write(content);
  }
  writer.finish();
}

TEST(MergeCopies, TensorsOfAnyTypeThatItDoesNotTrain) {
  const std::pair<const char*, std::uint64_t> kinds[] = {
      {"I64", 24},    {"F64", 24}, {"U8", 3}, {"BOOL", 3},
      {"F8_E4M3", 3}, {"I16", 6},  {"F4", 2} /* of a size that is not known here */};
  for (const auto& [dtype, bytes] : kinds) {
    TemporaryFolder folder;
    write_with(folder / "base", "model.buffer", dtype, bytes);
    merge_adapter(folder / "base", reference("qwen3") / "lora_final", folder / "merged");
    const ModelFiles before(folder / "base"), after(folder / "merged");
    const StoredTensor* copied = after.find("model.buffer");
    ASSERT_NE(copied, nullptr) << dtype;
    EXPECT_EQ(copied->dtype, dtype);
    EXPECT_EQ(copied->shape, (std::vector<std::int64_t>{3}));
    EXPECT_TRUE(std::ranges::equal(copied->data, before.find("model.buffer")->data)) << dtype;
    EXPECT_EQ(after.tensors().size(), before.tensors().size());
  }
}

TEST(MergeRefuses, AnAdaptedWeightOfAnotherType) {
  TemporaryFolder folder;
  const std::string name = "model.layers.0.mlp.down_proj.weight";  // (96, 224)
  write_with(folder / "base", name, "F8_E4M3", 96 * 224);
  expect_error([&] { merge_adapter(folder / "base", reference("qwen3") / "lora_final", folder / "merged"); },
               {"model.safetensors", name, "F8_E4M3", "F32, F16 and BF16"});
  EXPECT_FALSE(fs::exists(folder / "merged"));
}

TEST(MergeRefuses, TheAdapterOfAnotherModel) {
  TemporaryFolder folder;
  const auto merge = [&](const char* model, const char* adapter) {
    merge_adapter(reference(model) / "hf", reference(adapter) / "lora_final", folder / "merged");
  };
  expect_error([&] { merge("qwen2", "qwen3"); }, {"lora_A", "do not fit"});
  EXPECT_FALSE(fs::exists(folder / "merged"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace primus::checkpoint
