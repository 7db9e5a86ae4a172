#include "base/host_memory.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

namespace primus {
namespace {

namespace fs = std::filesystem;

/// The number behind `name` in a file of lines "name number …"; `otherwise` when there is none.
std::size_t number_after(const fs::path& file, std::string_view name, std::size_t otherwise) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    std::size_t number = 0;
    if (word == name && in >> number) return number;
  }
  return otherwise;
}

std::size_t kibibytes(const fs::path& meminfo, std::string_view name) {
  const std::size_t number = number_after(meminfo, name, HostMemory::kUnknown);
  return number == HostMemory::kUnknown ? number : number * 1024;
}

/// The whole file as a number; kUnknown for "max", or when there is none.
std::size_t read_number(const fs::path& file) {
  std::size_t number = 0;
  return std::ifstream(file) >> number ? number : HostMemory::kUnknown;
}

/// The files of a version of control groups.
struct GroupFiles {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* inactive;  // of memory.stat, groups below included
  const char* active;
};
constexpr GroupFiles kVersion1{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                               "total_inactive_file", "total_active_file"};
constexpr GroupFiles kVersion2{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"};

void apply_limit(const fs::path& group, const GroupFiles& files, HostMemory& memory) {
  const std::size_t limit = read_number(group / files.limit);
  const std::size_t usage = read_number(group / files.usage);
  if (limit == HostMemory::kUnknown || usage == HostMemory::kUnknown) return;
  const fs::path stat = group / "memory.stat";
  const std::size_t file_pages = number_after(stat, files.inactive, 0) + number_after(stat, files.active, 0);
  const std::size_t used = usage - std::min(usage, file_pages);
  const std::size_t free = limit - std::min(limit, used);
  memory.total = std::min(memory.total, limit);
  if (free >= memory.free) return;
  memory.free = free;
  memory.limited_by_group = true;
}

/// Limits of the group and of those around it. In a container its own group may be mounted as the root.
void apply_limits(const fs::path& root, std::string_view path, const GroupFiles& files, HostMemory& memory) {
  fs::path group = fs::path(path).relative_path();
  while (true) {
    apply_limit(root / files.mount / group, files, memory);
    if (group.empty()) return;
    group = group.parent_path();
  }
}

bool controls_memory(std::string_view controllers) {
  return ("," + std::string(controllers) + ",").find(",memory,") != std::string::npos;
}

}  // namespace

HostMemory host_memory(const fs::path& root) {
  const fs::path meminfo = root / "proc/meminfo";
  HostMemory memory{.total = kibibytes(meminfo, "MemTotal:"), .free = kibibytes(meminfo, "MemAvailable:")};
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "4:memory:/docker/ab12", in version 2 "0::/user.slice"
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string_view path = std::string_view(line).substr(second + 1);
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (line.starts_with("0::")) {
      apply_limits(root, path, kVersion2, memory);
    } else if (controls_memory(controllers)) {
      apply_limits(root, path, kVersion1, memory);
    }
  }
  return memory;
}

}  // namespace primus
