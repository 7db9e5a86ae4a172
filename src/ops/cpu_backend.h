#pragma once

#include <string>
#include <vector>

namespace primus::ops {

/// Makes Device{kCpu} usable: registers memory, streams and operations of the CPU with tensor/backend.h. `main` and
/// the tests call it before they touch a device; calling it again changes nothing.
void use_cpu_backend();

namespace cpu {

/// Whether this machine multiplies bf16 in hardware (avx512_bf16). Elsewhere bf16 is correct but slower than f32.
bool has_native_bf16();

/// Instruction-set levels that the kernels were compiled for and this machine can run, best first: "avx512", "avx2",
/// "generic". The best is used unless `use_level` picks another, which tests and measurements do.
std::vector<std::string> levels();
void use_level(const std::string& name);

}  // namespace cpu
}  // namespace primus::ops
