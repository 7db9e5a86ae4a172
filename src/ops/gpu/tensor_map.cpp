#include "ops/gpu/tensor_map.h"

#include <cuda_runtime.h>

#include "base/error.h"
#include "ops/gpu/runtime.h"

namespace primus::ops::gpu {
namespace {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found once: nothing is linked with the driver.
EncodeTiled encode_tiled() {
  static const EncodeTiled found = [] {
    void* function = nullptr;
    auto result = cudaDriverEntryPointSymbolNotFound;
    constexpr unsigned kSinceVersion = 12000;
    GPU_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSinceVersion, cudaEnableDefault,
                                               &result));
    PRIMUS_CHECK(result == cudaDriverEntryPointSuccess, static_cast<int>(result));
    return reinterpret_cast<EncodeTiled>(function);
  }();
  return found;
}

}  // namespace

CUtensorMap tensor_map(const BoxedMatrix& matrix) {
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(matrix.columns), static_cast<cuuint64_t>(matrix.rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(matrix.row_bytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(matrix.box_columns), static_cast<cuuint32_t>(matrix.box_rows)};
  const cuuint32_t steps[] = {1, 1};
  CUtensorMap map;
  const CUresult result =
      encode_tiled()(&map, matrix.type, 2, matrix.data, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                     matrix.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  PRIMUS_CHECK(result == CUDA_SUCCESS, static_cast<int>(result), matrix.row_bytes);
  return map;
}

CUtensorMap tensor_map(const Tensor& matrix, int rows, int columns) {
  return tensor_map(
      {.type = matrix.dtype() == DType::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
       .data = matrix.data(),
       .rows = matrix.rows(),
       .columns = matrix.columns(),
       .row_bytes = matrix.row_stride() * static_cast<std::int64_t>(size_of(matrix.dtype())),
       .box_rows = rows,
       .box_columns = columns,
       .swizzle = columns == 64 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B});
}

}  // namespace primus::ops::gpu
