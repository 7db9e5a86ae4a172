#include "config/presets.h"

#include <cstdlib>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "config/nearest.h"

namespace primus::config {
namespace {

namespace fs = std::filesystem;

bool holds_configs(const fs::path& folder) {
  std::error_code failure;
  return fs::is_directory(folder / "configs" / "models", failure);
}

std::vector<std::string> presets_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().filename().string());
  }
  return names;
}

std::string with_extension(const std::string& name) {
  return name.ends_with(".yaml") || name.ends_with(".yml") ? name : name + ".yaml";
}

/// Relative to the working directory when it lies below it: shorter in messages.
fs::path short_path(const fs::path& path) {
  const fs::path relative = path.lexically_proximate(fs::current_path());
  return relative.string().starts_with("..") ? path : relative;
}

}  // namespace

Environment environment_or_process(const Environment& environment) {
  if (environment) return environment;
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

fs::path project_root(const Environment& environment) {
  if (const auto root = environment_or_process(environment)("PRIMUS_ROOT"); root && !root->empty()) return *root;
  std::error_code failure;
  const fs::path executable = fs::read_symlink("/proc/self/exe", failure);
  for (fs::path folder = executable.parent_path(); !folder.empty(); folder = folder.parent_path()) {
    if (holds_configs(folder)) return folder;
    if (holds_configs(folder / "share" / "primus")) return folder / "share" / "primus";
    if (folder == folder.root_path()) break;
  }
  return fs::current_path();
}

Preset find_preset(PresetKind kind, const std::string& framework, const std::string& name, const Mark& mark,
                   const fs::path& run_file, const Environment& environment) {
  const std::string file = with_extension(name);
  const fs::path presets =
      project_root(environment) / "configs" / (kind == PresetKind::kModel ? "models" : "modules") / framework;
  std::error_code failure;
  std::vector<std::string> searched;
  if (file.find('/') == std::string::npos) {
    if (fs::is_regular_file(presets / file, failure)) return {short_path(presets / file), name};
    searched.push_back(presets.string());
  }
  std::vector<fs::path> folders = {fs::current_path()};
  const fs::path beside = run_file.empty() ? folders.front() : fs::absolute(run_file).parent_path().lexically_normal();
  if (beside != folders.front()) folders.insert(folders.begin(), beside);
  for (const fs::path& folder : folders) {
    const fs::path path = (folder / file).lexically_normal();
    if (fs::is_regular_file(path, failure)) return {short_path(path), path.string()};
    searched.push_back(folder.string());
  }
  throw bad_input("{}: there is no {} preset '{}'{} (looked in {})", mark.text(),
                  kind == PresetKind::kModel ? "model" : "module", name, did_you_mean(file, presets_in(presets)),
                  fmt::join(searched, ", "));
}

}  // namespace primus::config
