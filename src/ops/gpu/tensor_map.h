#pragma once

#include <cuda.h>

#include "tensor/tensor.h"

namespace primus::ops::gpu {

/// A 16-bit matrix as Hopper's copy engine sees it: boxes of `rows` rows and 64 columns, whose 16-byte chunks are
/// exchanged in shared memory as in PanelTile (flash_panel.cuh). What lies outside the matrix reads as zero and is not
/// written. Rows have to begin at multiples of 16 bytes.
CUtensorMap tensor_map(const Tensor& matrix, int rows);

}  // namespace primus::ops::gpu
