#pragma once

#include "ops/gpu/kernel_support.cuh"

/// NVIDIA's matrix instructions on 16-bit elements (compute capability 8.0 and later).
namespace primus::ops::gpu::mma {

/// Four 8 × 8 matrices of a warp, a word of each: elements (lane / 4, 2·(lane % 4)) and its right neighbour.
struct Fragment {
  std::uint32_t words[4];
};

/// 16 × 16 elements of a tile. `chunk` is the address of 16 bytes for each lane: rows 0 … 7 of the first matrix in the
/// first eight lanes, and so on.
__device__ __forceinline__ Fragment load(unsigned chunk) {
  Fragment f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.words[0]), "=r"(f.words[1]), "=r"(f.words[2]), "=r"(f.words[3])
               : "r"(chunk)
               : "memory");
  return f;
}
__device__ __forceinline__ Fragment load(const unsigned char* chunk) {
  return load(static_cast<unsigned>(__cvta_generic_to_shared(chunk)));
}

/// The same with each matrix transposed.
__device__ __forceinline__ Fragment load_transposed(const unsigned char* chunk) {
  Fragment f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.words[0]), "=r"(f.words[1]), "=r"(f.words[2]), "=r"(f.words[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(chunk)))
               : "memory");
  return f;
}

/// sums (16 × 8) += a (16 × 16) · b (16 × 8). The words of `a` are its quarters from the top down, then to the right;
/// a lane has the sums of two neighbouring columns in the row lane / 4 (s0, s1) and 8 further (s2, s3).
template <typename T>
__device__ __forceinline__ void multiply_add(float& s0, float& s1, float& s2, float& s3, const Fragment& a,
                                             std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::is_same_v<T, F16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(s0), "+f"(s1), "+f"(s2), "+f"(s3)
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(s0), "+f"(s1), "+f"(s2), "+f"(s3)
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b0), "r"(b1));
  }
}

template <typename T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const Fragment& a, std::uint32_t b0, std::uint32_t b1) {
  multiply_add<T>(sums[0], sums[1], sums[2], sums[3], a, b0, b1);
}

}  // namespace primus::ops::gpu::mma
