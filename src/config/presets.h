#pragma once

#include <filesystem>
#include <string>

#include "config/load.h"
#include "config/yaml_tree.h"

namespace primus::config {

enum class PresetKind { kModule, kModel };

struct Preset {
  std::filesystem::path path;
  std::string name;  // as written when it is one of the project's, else the absolute path
};

/// A bare name is looked for in the project's presets, then beside `run_file` and in the working directory; a path only
/// in the latter two. `.yaml` may be left out. Throws Error at `mark` with the nearest name and the folders searched.
Preset find_preset(PresetKind kind, const std::string& framework, const std::string& name, const Mark& mark,
                   const std::filesystem::path& run_file, const Environment& environment);

/// `environment`, or the process's own when it is empty.
Environment environment_or_process(const Environment& environment);

}  // namespace primus::config
