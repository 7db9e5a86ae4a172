#pragma once

#include <vector>

#include "base/error.h"
#include "ops/cpu_backend.h"
#include "tensor/backend.h"
#include "tensor/device.h"

/// What tests run on: the CPU, and the first GPU of each kind whose library and device are here.
namespace primus::test {

inline bool has(DeviceType type) {
  try {
    return backend(type).device_count() > 0;
  } catch (const Error&) {
    return false;
  }
}

inline std::vector<Device> gpus() {
  std::vector<Device> found;
  for (const DeviceType type : {DeviceType::kCuda, DeviceType::kHip}) {
    if (has(type)) found.push_back({type, 0});
  }
  return found;
}

inline std::vector<Device> all_devices() {
  ops::use_cpu_backend();
  std::vector<Device> found = gpus();
  found.insert(found.begin(), Device{DeviceType::kCpu, 0});
  return found;
}

}  // namespace primus::test
