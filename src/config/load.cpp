#include "config/load.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "config/document.h"
#include "config/overrides.h"
#include "config/presets.h"
#include "config/read_value.h"
#include "config/schema.h"
#include "config/validate.h"

namespace primus::config {
namespace {

constexpr double kSftLearningRate = 5e-6;
constexpr double kLoraLearningRate = 1e-4;

/// Lays one layer after the other over the defaults, remembering where each value came from.
class Loader {
 public:
  explicit Loader(const LoadRequest& request)
      : request_(request), environment_(environment_or_process(request.environment)) {
    for (const KeySpec& key : schema()) result_.provenance.push_back({key.name, Layer::kDefault, "", false});
    for (const Override& override : request.overrides) command_line_.push_back(read_override(override));
  }

  Resolved load() {
    YamlNode document;
    const YamlNode* settings = nullptr;
    if (!request_.file.empty()) {
      document = read_document(request_.file, environment_);
      settings = apply_run_file(document);
    }
    apply_command_line(Place::kRun);
    apply_command_line(Place::kModule);
    apply_preset(PresetKind::kModel, Layer::kModelPreset, "model", &RunConfig::model);
    apply_preset(PresetKind::kModule, Layer::kModulePreset, "config", &RunConfig::config);
    if (settings != nullptr) apply_map(*settings, Place::kSettings, Layer::kRunFile, "");
    apply_command_line(Place::kSettings);
    complete();
    return std::move(result_);
  }

 private:
  Provenance& entry(const KeySpec& key) { return result_.provenance[static_cast<std::size_t>(&key - schema().data())]; }

  void ignore(const std::string& name) {
    auto& names = result_.ignored_keys;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }

  void assign(const KeySpec& key, const YamlNode& value, const Mark& where, Layer layer) {
    const bool null = value.kind == YamlNode::Kind::kNull;
    if (null && key.null_keeps_lower) return;
    if (null && key.nullable) {
      key.reset(result_.config);
    } else if (null) {
      YamlNode nothing;
      nothing.mark = where;
      key.set(result_.config, nothing);  // says what it expects instead
    } else {
      key.set(result_.config, value);
    }
    entry(key) = {key.name, layer, where.text(), null};
  }

  void apply_map(const YamlNode& map, Place place, Layer layer, const std::string& group) {
    std::map<const KeySpec*, const MapEntry*> seen;
    for (const MapEntry& item : map.entries) {
      const std::string name = group.empty() ? item.key : group + "." + item.key;
      const bool dotted = item.key.find('.') != std::string::npos;  // the nested form is the only one in a file
      if (const KeySpec* key = find_key(place, name); key != nullptr && !dotted) {
        refuse_second_name(seen, *key, item);
        assign(*key, item.value, item.value.kind == YamlNode::Kind::kNull ? item.mark : item.value.mark, layer);
      } else if (group.empty() && is_group(place, name)) {
        apply_group(item, place, layer);
      } else if (is_foreign_key(place, name)) {
        ignore(name);
      } else {
        throw bad_input("{}: {}", item.mark.text(), unknown_key_text(place, group, item.key));
      }
    }
  }

  void apply_group(const MapEntry& item, Place place, Layer layer) {
    if (item.value.kind == YamlNode::Kind::kNull) return;
    if (item.value.kind != YamlNode::Kind::kMap) {
      throw bad_input("{}: {} is a group of keys; expected a map", item.value.mark.text(), item.key);
    }
    apply_map(item.value, place, layer, item.key);
  }

  /// Two names of one key in the same file contradict each other, unless one is null.
  static void refuse_second_name(std::map<const KeySpec*, const MapEntry*>& seen, const KeySpec& key,
                                 const MapEntry& item) {
    if (item.value.kind == YamlNode::Kind::kNull) return;
    const auto [first, fresh] = seen.emplace(&key, &item);
    if (!fresh && *first->second->mark.source == *item.mark.source) {
      throw bad_input("{}: '{}' and '{}' (line {}) name the same setting; keep one", item.mark.text(), item.key,
                      first->second->key, first->second->mark.line);
    }
    first->second = &item;
  }

  /// The file's own keys and those of its module; answers the overrides, to be applied after the presets.
  const YamlNode* apply_run_file(const YamlNode& document) {
    YamlNode top = document;
    const YamlNode* modules = document.find("modules");
    if (modules == nullptr || modules->kind != YamlNode::Kind::kMap) {
      apply_map(top, Place::kRun, Layer::kRunFile, "");  // a key in the wrong place is the likelier mistake
      throw bad_input("{}: 'modules:' is missing; the run is described under modules.post_trainer",
                      document.mark.text());
    }
    std::erase_if(top.entries, [](const MapEntry& item) { return item.key == "modules"; });
    apply_map(top, Place::kRun, Layer::kRunFile, "");

    for (const MapEntry& module : modules->entries) {
      if (module.key == "post_trainer") continue;
      throw bad_input("{}: unknown module '{}'; the one that runs is 'post_trainer'", module.mark.text(), module.key);
    }
    const YamlNode* trainer = modules->find("post_trainer");
    if (trainer == nullptr || trainer->kind != YamlNode::Kind::kMap) {
      throw bad_input("{}: modules.post_trainer is missing", modules->mark.text());
    }
    trainer_mark_ = trainer->mark;
    YamlNode module = *trainer;
    std::erase_if(module.entries, [](const MapEntry& item) { return item.key == "overrides"; });
    apply_map(module, Place::kModule, Layer::kRunFile, "");

    const YamlNode* overrides = trainer->find("overrides");
    if (overrides == nullptr || overrides->kind == YamlNode::Kind::kNull) return nullptr;
    if (overrides->kind != YamlNode::Kind::kMap) {
      throw bad_input("{}: overrides is {}; expected a map of keys", overrides->mark.text(), describe(*overrides));
    }
    return overrides;
  }

  void apply_command_line(Place place) {
    for (const CommandLineValue& value : command_line_) {
      if (value.key == nullptr) {
        ignore(value.name);
      } else if (value.key->place == place) {
        assign(*value.key, value.value, value.value.mark, Layer::kCommandLine);
      }
    }
  }

  void apply_preset(PresetKind kind, Layer layer, std::string_view key, std::string RunConfig::*name) {
    if ((result_.config.*name).empty()) return;
    const std::string& where = entry(*find_key(Place::kModule, key)).where;
    const Mark mark{std::make_shared<const std::string>(where), 0, 0};
    const Preset preset =
        find_preset(kind, result_.config.framework, result_.config.*name, mark, request_.file, environment_);
    result_.config.*name = preset.name;
    apply_map(read_document(preset.path, environment_), Place::kSettings, layer, "");
  }

  bool is_set(std::string_view name) const {
    const Provenance& source = result_.source_of(name);
    return source.layer != Layer::kDefault && !source.null;
  }

  /// Defaults that depend on other values, then the contradictions.
  void complete() {
    RunConfig& config = result_.config;
    if (!request_.file.empty() && config.model.empty() && config.hf_path.empty()) {
      throw bad_input("{}: no model is named; give 'model:' (a preset) or 'hf_path:' in overrides",
                      trainer_mark_.text());
    }
    if (!is_set("finetune_lr")) {
      config.finetune_lr = config.peft == Peft::kLora ? kLoraLearningRate : kSftLearningRate;
    }
    if (!is_set("lr_decay_iters")) config.lr_decay_iters = config.train_iters;
    if (!is_set("save")) config.save = config.run_directory() + "/checkpoints";
    check_settings(result_);
  }

  const LoadRequest& request_;
  Environment environment_;
  std::vector<CommandLineValue> command_line_;
  Mark trainer_mark_;
  Resolved result_;
};

}  // namespace

const Provenance& Resolved::source_of(std::string_view key) const {
  const auto found =
      std::find_if(provenance.begin(), provenance.end(), [&](const Provenance& entry) { return entry.key == key; });
  PRIMUS_CHECK(found != provenance.end(), key);
  return *found;
}

Resolved load(const LoadRequest& request) { return Loader(request).load(); }

}  // namespace primus::config
