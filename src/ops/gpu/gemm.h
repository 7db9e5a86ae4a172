#pragma once

#include <cstdint>
#include <string>

#include "ops/gpu/runtime.h"

/// Matrix products as BLAS has them, column-major: D (m, n) = alpha · op(A) (m, k) · op(B) (k, n), or C (m, n) + that.
/// C may be D. Sums are kept in f32.
namespace primus::ops::gpu {

/// All that the choice of an algorithm depends on.
struct GemmShape {
  DType in = DType::kF32;   // of A and B
  DType out = DType::kF32;  // of C and D
  bool transpose_a = false;
  bool transpose_b = false;
  bool adds_c = false;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t lda = 0;  // elements from column to column
  std::int64_t ldb = 0;
  std::int64_t ldc = 0;  // where there is no C, as D's
  std::int64_t ldd = 0;
  int alignment_a = 16;  // bytes, up to 16, of the address and of every column
  int alignment_b = 16;
  int alignment_c = 16;
  int alignment_d = 16;

  bool operator==(const GemmShape&) const = default;

  double flops() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
  /// One word that tells shapes apart: "bf16f32tn_m4096_n8192_…".
  std::string key() const;
};

struct GemmShapeHash {
  std::size_t operator()(const GemmShape& shape) const;
};

struct GemmOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;  // where there is no C, D
  void* d = nullptr;
  float alpha = 1.0F;
};

/// A plain kernel for any strides and alignments: what the vendor's library refuses. D is of the type of A and B, f32
/// or bf16.
void plain_gemm(const Stream& stream, const GemmShape& shape, const GemmOperands& operands);

}  // namespace primus::ops::gpu
