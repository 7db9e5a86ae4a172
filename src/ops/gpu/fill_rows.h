#pragma once

#include "ops/gpu/runtime.h"

namespace primus::ops::gpu {

/// Every row of `out` (M, N) becomes `row` (N), converted to out's type.
void fill_rows(Stream& stream, const Tensor& row, const Tensor& out);

}  // namespace primus::ops::gpu
