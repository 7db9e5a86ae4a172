#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace primus::checkpoint {

/// A tensor as the header describes it, not yet compared with the file.
struct HeaderEntry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;  // by `begin`
  std::map<std::string, std::string> metadata;
};

/// nullopt for element types that are not known here; their tensors can be passed over and copied but not read.
std::optional<std::uint64_t> element_bytes(std::string_view dtype);

/// Parses a header's JSON and checks that its tensors fill `data_bytes` without holes or overlaps and that shapes agree
/// with byte counts. Throws Error that begins with `where`.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes, const std::string& where);

}  // namespace primus::checkpoint
