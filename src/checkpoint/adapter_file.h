#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/peft.h"
#include "checkpoint/safetensors.h"

namespace primus::checkpoint {

/// What PEFT puts before a module's name.
constexpr const char* kPeftPrefix = "base_model.model.";

/// The two matrices of one adapted module.
struct AdapterPair {
  const StoredTensor* a = nullptr;  // (rank, in)
  const StoredTensor* b = nullptr;  // (out, rank)
};

/// A PEFT folder, opened and checked.
class AdapterFile {
 public:
  explicit AdapterFile(const std::filesystem::path& folder);

  /// `target_modules` holds the last parts of all adapted modules' names.
  const LoraInfo& info() const { return info_; }
  /// By module, "model.layers.0.self_attn.q_proj".
  const std::map<std::string, AdapterPair>& modules() const { return modules_; }
  /// By the registry's name, "model.layers.0.self_attn.q_proj.lora_A.weight"; nullptr when there is none.
  const StoredTensor* find(const std::string& name) const { return file_.find(kPeftPrefix + name); }
  std::string config_path() const { return config_path_; }
  std::string path() const { return file_.path().string(); }

 private:
  void read_config();
  void collect_modules();

  std::string config_path_;
  SafetensorsFile file_;
  LoraInfo info_;
  std::map<std::string, AdapterPair> modules_;
};

}  // namespace primus::checkpoint
