#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <new>

#include "base/error.h"
#include "ops/cpu/kernels.h"
#include "tensor/tensor.h"

/// Between tensors and kernels: views as plain rows, the table of an element type, scratch memory.
namespace primus::ops::cpu {

inline Rows rows_of(const Tensor& tensor) { return {tensor.data(), tensor.row_stride()}; }

/// f32, bf16, f16 as an index into the kernels' tables.
inline std::size_t element_index(DType dtype) {
  PRIMUS_CHECK(dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16, name_of(dtype));
  return dtype == DType::kF32 ? 0 : dtype == DType::kBF16 ? 1 : 2;
}

inline const ElementKernels& kernels_of(DType dtype) { return kernels().element[element_index(dtype)]; }

/// Address of element `index` of a vector, or of row `row` of a matrix.
inline void* element_at(const void* data, DType dtype, Index index) {
  return static_cast<std::byte*>(const_cast<void*>(data)) + static_cast<std::size_t>(index) * size_of(dtype);
}
inline void* row_at(const Tensor& tensor, Index row) {
  return element_at(tensor.data(), tensor.dtype(), row * tensor.row_stride());
}

/// Memory for use within one operation: one block for each use and thread, which only ever grows, so that a training
/// step stops asking the system for memory after the first.
enum class Scratch { kPartialSums, kLeft, kRight, kResult, kBias, kAttention, kCount };

inline void* scratch_bytes(Scratch use, std::size_t bytes) {
  struct Free {
    void operator()(std::byte* data) const { ::operator delete[](data, std::align_val_t{64}); }
  };
  struct Block {
    std::unique_ptr<std::byte, Free> data;
    std::size_t bytes = 0;
  };
  thread_local std::array<Block, static_cast<std::size_t>(Scratch::kCount)> blocks;
  Block& block = blocks.at(static_cast<std::size_t>(use));
  if (block.bytes < bytes) {
    block.data.reset();
    block.data.reset(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{64})));
    block.bytes = bytes;
  }
  return block.data.get();
}

inline float* scratch_floats(Scratch use, Index count) {
  return static_cast<float*>(scratch_bytes(use, static_cast<std::size_t>(count) * sizeof(float)));
}

}  // namespace primus::ops::cpu
