#pragma once

#include <cstdint>

namespace primus {

enum class DeviceType : std::uint8_t { kCpu, kCuda, kHip };

constexpr const char* name_of(DeviceType type) {
  switch (type) {
    case DeviceType::kCpu:
      return "cpu";
    case DeviceType::kCuda:
      return "cuda";
    case DeviceType::kHip:
      return "hip";
  }
  return "?";
}

/// One device of this host: `index` counts the devices of its type that this process can see.
struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

}  // namespace primus
