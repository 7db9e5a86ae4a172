#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>

namespace primus {

/// Bytes of memory that this process may use.
struct HostMemory {
  static constexpr std::size_t kUnknown = std::numeric_limits<std::size_t>::max();  // which no plan exceeds

  std::size_t total = kUnknown;
  std::size_t free = kUnknown;
  bool limited_by_group = false;  // a control group's limit (a container's, a job's) leaves less than the host has
};

/// What the kernel tells in /proc and /sys, both under `root`: /proc/meminfo, and the limits of the process's memory
/// control group (version 1 or 2) and of those around it. File pages of a group count as free, since the kernel gives
/// them up first, as in MemAvailable. What cannot be read limits nothing.
HostMemory host_memory(const std::filesystem::path& root = "/");

}  // namespace primus
