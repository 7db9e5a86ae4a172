#include <string>
#include <vector>

#include "base/error.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu_backend.h"

namespace primus::ops::cpu {

#if defined(PRIMUS_CPU_LEVELS_X86)
namespace avx512 {
const Kernels& table();
}
namespace avx2 {
const Kernels& table();
}
#endif
namespace generic {
const Kernels& table();
}

namespace {

/// Every table that this machine can run, best first.
std::vector<const Kernels*> find_runnable() {
  std::vector<const Kernels*> tables;
#if defined(PRIMUS_CPU_LEVELS_X86)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("lzcnt") &&
                  __builtin_cpu_supports("movbe");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) tables.push_back(&avx512::table());
  if (v3) tables.push_back(&avx2::table());
#endif
  tables.push_back(&generic::table());
  return tables;
}

const std::vector<const Kernels*>& runnable() {
  static const std::vector<const Kernels*> tables = find_runnable();
  return tables;
}

const Kernels*& chosen() {
  static const Kernels* table = runnable().front();
  return table;
}

}  // namespace

const Kernels& kernels() { return *chosen(); }

bool has_native_bf16() {
#if defined(PRIMUS_CPU_LEVELS_X86)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (const Kernels* table : runnable()) names.emplace_back(table->name);
  return names;
}

void use_level(const std::string& name) {
  for (const Kernels* table : runnable()) {
    if (name == table->name) {
      chosen() = table;
      return;
    }
  }
  throw host_lacks("this machine cannot run the CPU kernels of level '{}'", name);
}

}  // namespace primus::ops::cpu
