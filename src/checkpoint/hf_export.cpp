#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/hf.h"
#include "checkpoint/transfer.h"
#include "model/json_object.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 15> kCompanions{"generation_config.json",
                                                       "tokenizer.json",
                                                       "tokenizer_config.json",
                                                       "special_tokens_map.json",
                                                       "vocab.json",
                                                       "merges.txt",
                                                       "added_tokens.json",
                                                       "tokenizer.model",
                                                       "chat_template.jinja",
                                                       "chat_template.json",
                                                       "LICENSE",
                                                       "LICENSE.txt",
                                                       "LICENSE.md",
                                                       "NOTICE",
                                                       "USE_POLICY.md"};
constexpr std::string_view kTemplates = "additional_chat_templates/";

const char* torch_name(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    default:
      return "float32";
  }
}

/// What `dtype` (newer files) or `torch_dtype` (older ones) names; f32, which holds every value, for other names: a run
/// that is done must not fail over a word ("auto", "float64").
DType configured_dtype(const Json& tree) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto found = tree.find(key);
    if (found == tree.end() || !found->is_string()) continue;
    const auto name = found->get<std::string>();
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      if (name == torch_name(dtype)) return dtype;
    }
  }
  return DType::kF32;
}

void set_dtype(Json& tree, DType dtype) {
  bool named = false;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (!tree.contains(key)) continue;
    tree[key] = torch_name(dtype);
    named = true;
  }
  if (!named) tree["torch_dtype"] = torch_name(dtype);  // old and new readers know this one
}

}  // namespace

bool is_companion_file(std::string_view path) {
  if (path.starts_with(kTemplates)) return path.ends_with(".jinja");
  return std::find(kCompanions.begin(), kCompanions.end(), path) != kCompanions.end();
}

void copy_companion_files(const fs::path& source, const fs::path& folder) {
  try {
    for (const std::string_view name : kCompanions) {
      if (fs::is_regular_file(source / name)) fs::copy_file(source / name, folder / name);
    }
    if (!fs::is_directory(source / kTemplates)) return;
    make_directories(folder / kTemplates);
    for (const auto& entry : fs::directory_iterator(source / kTemplates)) {
      if (entry.is_regular_file() && entry.path().extension() == ".jinja") {
        fs::copy_file(entry.path(), folder / kTemplates / entry.path().filename());
      }
    }
  } catch (const fs::filesystem_error& error) {
    throw run_failed("cannot copy {} to {}: {}", error.path1().string(), folder.string(), error.code().message());
  }
}

std::uint64_t model_bytes(const model::ParameterRegistry& registry, const model::ModelConfig& config) {
  const std::size_t element = size_of(configured_dtype(Json::parse(config.json)));
  std::uint64_t bytes = 0;
  for (const model::Parameter& parameter : registry.all()) {
    if (!is_adapter(parameter)) bytes += static_cast<std::uint64_t>(parameter.numel()) * element;
  }
  return bytes;
}

void save_model(const fs::path& folder, const model::ParameterRegistry& registry, const model::ModelConfig& config,
                Stream& stream, const SaveModel& options) {
  PRIMUS_CHECK(!config.json.empty(), config.architecture);
  static_cast<void>(model::parse_json_object(config.json, "config.json"));
  Json tree = Json::parse(config.json);
  const DType dtype = options.dtype ? *options.dtype : configured_dtype(tree);
  set_dtype(tree, dtype);

  std::vector<TensorSpec> tensors;
  for (const model::Parameter& parameter : registry.all()) {
    if (!is_adapter(parameter)) tensors.emplace_back(parameter.name, dtype, file_shape(parameter));
  }
  Transfer transfer(stream);
  replace_directory(folder, [&](const fs::path& fresh) {
    write_text(fresh / "config.json", tree.dump(2) + "\n");
    if (!options.source.empty()) copy_companion_files(options.source, fresh);
    write_model_files(fresh, tensors, options.max_shard_bytes, [&](const TensorSpec& tensor, const ByteSink& sink) {
      transfer.read(registry.find(tensor.name)->values(), dtype, sink);
    });
  });
}

}  // namespace primus::checkpoint
