#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "model/json_object.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void no_weights(const fs::path& folder) {
  std::string found;
  std::error_code code;
  if (!fs::is_directory(folder, code)) throw bad_input("{}: not a directory", folder.string());
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".bin" || extension == ".pth" || extension == ".pt" || extension == ".gguf") {
      found = entry.path().filename().string();
    }
  }
  throw bad_input("{}: no model.safetensors and no model.safetensors.index.json there{}", folder.string(),
                  found.empty() ? std::string()
                                : fmt::format(" ({} is another format: convert the weights to safetensors)", found));
}

/// An index is untrusted: its file names are names only, never paths.
void check_file_name(const std::string& name, const std::string& where) {
  const bool plain = !name.empty() && name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
                     name.find('\0') == std::string::npos && name != "." && name != "..";
  if (!plain || !name.ends_with(".safetensors")) {
    throw bad_input("{}: names the file \"{}\"; the name of a .safetensors file in the same directory is expected",
                    where, name);
  }
}

}  // namespace

ModelFiles::ModelFiles(const fs::path& folder) {
  path_ = folder / "model.safetensors";
  if (fs::exists(path_)) {
    files_.push_back(std::make_unique<SafetensorsFile>(path_));
    for (const StoredTensor& tensor : files_.front()->tensors()) index_.emplace(tensor.name, &tensor);
    return;
  }
  path_ = folder / "model.safetensors.index.json";
  if (!fs::exists(path_)) no_weights(folder);
  read_index(folder);
}

void ModelFiles::read_index(const fs::path& folder) {
  constexpr std::size_t kMaxFiles = 4096;
  const std::string where = path_.string();
  const nlohmann::json tree = model::parse_json_object(read_text(path_), where);
  const nlohmann::json* map = model::JsonObject(tree, where).find("weight_map");
  if (map == nullptr || !map->is_object()) throw bad_input("{}: `weight_map` is missing or no object", where);

  std::map<std::string, const SafetensorsFile*> by_name;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) throw bad_input("{}: `weight_map` must give {} a file name", where, tensor);
    const auto name = file.get<std::string>();
    check_file_name(name, where);
    by_name.emplace(name, nullptr);
  }
  if (by_name.size() > kMaxFiles) throw bad_input("{}: names {} files, more than {}", where, by_name.size(), kMaxFiles);
  for (auto& [name, file] : by_name) {
    if (!fs::exists(folder / name)) {
      throw bad_input("{}: names {}, which is not there; is the download complete?", where, name);
    }
    files_.push_back(std::make_unique<SafetensorsFile>(folder / name));
    file = files_.back().get();
  }
  for (const auto& [tensor, file] : map->items()) {
    const auto name = file.get<std::string>();
    const StoredTensor* found = by_name.at(name)->find(tensor);
    if (found == nullptr) throw bad_input("{}: says that {} is in {}, which has no such tensor", where, tensor, name);
    index_.emplace(tensor, found);
  }
}

const StoredTensor* ModelFiles::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : found->second;
}

std::vector<const StoredTensor*> ModelFiles::tensors() const {
  std::vector<const StoredTensor*> result;
  for (const auto& file : files_) {
    for (const StoredTensor& tensor : file->tensors()) {
      if (find(tensor.name) == &tensor) result.push_back(&tensor);
    }
  }
  return result;
}

}  // namespace primus::checkpoint
