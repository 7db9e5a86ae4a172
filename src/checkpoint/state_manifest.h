#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/training_state.h"

namespace primus::checkpoint {

constexpr const char* kManifestName = "state.json";
constexpr std::int64_t kStateFormatVersion = 1;

/// A part of a tensor: from `begin`, of `shape`, in `file` under the tensor's name.
struct StateSlice {
  std::string file;
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> shape;
};

/// A tensor of a state: its global shape and where its parts are.
struct StateTensor {
  std::vector<std::int64_t> shape;
  std::vector<StateSlice> slices;
};

struct StateFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint32_t crc32c = 0;
};

/// state.json
struct StateManifest {
  TrainingState state;
  std::vector<StateFile> files;
  std::map<std::string, StateTensor> tensors;
};

/// The manifest's text; its last member is a checksum of all that is before it.
std::string manifest_text(const StateManifest& manifest);

/// Throws Error that begins with `where`: damaged, of another format or a newer version, slices that leave their
/// tensor.
StateManifest parse_manifest(const std::string& text, const std::string& where);

/// <folder>/state.json, and that every file it names is there with the right size and checksum.
StateManifest read_verified_manifest(const std::filesystem::path& folder);

}  // namespace primus::checkpoint
