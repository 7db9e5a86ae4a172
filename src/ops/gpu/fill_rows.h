#pragma once

#include "ops/gpu/runtime.h"

namespace primus::ops::gpu {

/// Every row of `out` (M, N), of row's type or f32, becomes `row` (N), plus that of `addend` (M, N) of out's type where
/// there is one, which may be `out`.
void fill_rows(Stream& stream, const Tensor& row, const Tensor& addend, const Tensor& out);

}  // namespace primus::ops::gpu
