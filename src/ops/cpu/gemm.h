#pragma once

#include "ops/cpu/kernels.h"
#include "tensor/dtype.h"

namespace primus::ops::cpu {

/// A matrix by its two strides, so that a transposed view is a matrix as well. In elements; one of them is 1.
struct GemmOperand {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Index row_stride = 0;
  Index column_stride = 1;
};

/// C = scale · A·B + bias, or C += that: A (m, k), B (k, n), C (m, n) with rows `ldc` apart. Sums are in f32;
/// A and B have one type (f32 or bf16), C is f32 or bf16.
struct Gemm {
  Index m = 0;
  Index n = 0;
  Index k = 0;
  GemmOperand a;
  GemmOperand b;
  void* c = nullptr;
  DType c_dtype = DType::kF32;
  Index ldc = 0;
  const void* bias = nullptr;  // (n) of A's type
  bool accumulate = false;
  float scale = 1.0F;
};
void gemm(const Gemm& args);

/// Whether gemm() takes bf16 here (avx512 and better).
bool gemm_takes_bf16();

}  // namespace primus::ops::cpu
