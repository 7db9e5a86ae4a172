#pragma once

#include "ops/cpu/kernels.h"

/// The kernel sources of one level: each fills its part of the table.
namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {

void fill_attention(Kernels& table);
void fill_elementwise(Kernels& table);
void fill_norm(Kernels& table);
void fill_rope(Kernels& table);
void fill_loss(Kernels& table);
void fill_optimizer(Kernels& table);

const Kernels& table();

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
