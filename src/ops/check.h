#pragma once

#include "base/error.h"
#include "tensor/stream.h"
#include "tensor/tensor.h"

/// Checks that the operations share. What fails here is a bug of the caller, so it is a BugError with both values.
namespace primus::ops {

inline bool is_compute_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

inline bool is_state_type(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

template <typename... Tensors>
void check_on_device(const Stream& stream, const Tensors&... tensors) {
  const auto same = [&](const Tensor& tensor) { return tensor.empty() || tensor.device() == stream.device(); };
  PRIMUS_CHECK((same(tensors) && ...), name_of(stream.device().type), tensors.describe()...);
}

inline void check_matrix(const Tensor& tensor, std::int64_t rows, std::int64_t columns, DType dtype) {
  PRIMUS_CHECK(tensor.rank() == 2 && tensor.rows() == rows && tensor.columns() == columns, tensor.describe(), rows,
               columns);
  PRIMUS_CHECK(tensor.dtype() == dtype, tensor.describe(), name_of(dtype));
}

inline void check_vector(const Tensor& tensor, std::int64_t size, DType dtype) {
  PRIMUS_CHECK(tensor.rank() == 1 && tensor.columns() == size, tensor.describe(), size);
  PRIMUS_CHECK(tensor.dtype() == dtype, tensor.describe(), name_of(dtype));
}

inline void check_vector_or_empty(const Tensor& tensor, std::int64_t size, DType dtype) {
  if (tensor) check_vector(tensor, size, dtype);
}

/// A gradient of a vector of weights: f32 or bf16, or empty.
inline void check_gradient_or_empty(const Tensor& tensor, std::int64_t size) {
  if (tensor.empty()) return;
  PRIMUS_CHECK(tensor.rank() == 1 && tensor.columns() == size, tensor.describe(), size);
  PRIMUS_CHECK(is_state_type(tensor.dtype()), tensor.describe());
}

inline void check_compute_matrix(const Tensor& tensor) {
  PRIMUS_CHECK(tensor.rank() == 2 && is_compute_type(tensor.dtype()), tensor.describe());
}

}  // namespace primus::ops
