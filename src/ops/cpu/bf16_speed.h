#pragma once

namespace primus::ops::cpu {

/// Whether bf16 products on the library's bf16 kernels beat conversion to f32. AMX does by far; AVX-512's dot product
/// runs at twice the rate of f32 on some CPUs (AMD Zen 4) and at half of it on others (Intel's Sapphire and Emerald
/// Rapids without AMX), which is measured, once, in about 0.3 ms. PRIMUS_CPU_BF16=native or f32 decides instead.
bool bf16_products_are_fast();

/// Tests: true or false instead of the measurement.
void pretend_bf16_products_are_fast(bool fast);

}  // namespace primus::ops::cpu
