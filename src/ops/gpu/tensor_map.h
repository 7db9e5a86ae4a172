#pragma once

#include <cuda.h>

#include <cstdint>

#include "tensor/tensor.h"

namespace primus::ops::gpu {

/// A matrix in global memory of which Hopper's copy engine moves boxes.
struct BoxedMatrix {
  CUtensorMapDataType type;
  void* data;
  std::int64_t rows, columns;
  std::int64_t row_bytes;  // from row to row, a multiple of 16
  int box_rows, box_columns;
  CUtensorMapSwizzle swizzle;
};

/// What lies outside the matrix reads as zero and is not written.
CUtensorMap tensor_map(const BoxedMatrix& matrix);

/// A 16-bit matrix as Hopper's copy engine sees it: boxes of `rows` rows and `columns` columns, 64 or 32. The
/// 16-byte chunks of a box are exchanged in shared memory so that eight rows of a chunk lie in different banks: chunk c
/// of row r lies at c ^ (r % 8), as in PanelTile (flash_panel.cuh), and with 32 columns at c ^ (r / 2 % 4). Rows have
/// to begin at multiples of 16 bytes.
CUtensorMap tensor_map(const Tensor& matrix, int rows, int columns = 64);

}  // namespace primus::ops::gpu
