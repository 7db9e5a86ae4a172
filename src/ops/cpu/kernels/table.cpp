#include "ops/cpu/kernels/level.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {

#define PRIMUS_TEXT_OF(name) #name
#define PRIMUS_TEXT(name) PRIMUS_TEXT_OF(name)

const Kernels& table() {
  static const Kernels kernels = [] {
    Kernels filled{};
    filled.name = PRIMUS_TEXT(PRIMUS_CPU_LEVEL);
    fill_attention(filled);
    fill_elementwise(filled);
    fill_norm(filled);
    fill_rope(filled);
    fill_loss(filled);
    fill_optimizer(filled);
    return filled;
  }();
  return kernels;
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
