#pragma once

#include "ops/gpu/kernel_support.cuh"

/// NVIDIA's matrix instructions on 16-bit elements (compute capability 8.0 and later), and what brings tiles to them.
namespace primus::ops::gpu::mma {

/// Four 8 × 8 matrices of a warp, a word of each: elements (lane / 4, 2·(lane % 4)) and its right neighbour.
struct Fragment {
  std::uint32_t words[4];
};

/// 16 × 16 elements of a tile. `chunk` is the address of 16 bytes for each lane: rows 0 … 7 of the first matrix in the
/// first eight lanes, and so on.
__device__ __forceinline__ Fragment load(const unsigned char* chunk) {
  Fragment f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.words[0]), "=r"(f.words[1]), "=r"(f.words[2]), "=r"(f.words[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(chunk)))
               : "memory");
  return f;
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
/// a lane has the sums of two neighbouring columns in the rows lane / 4 and 8 further.
template <typename T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const Fragment& a, std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::is_same_v<T, F16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b0), "r"(b1));
  }
}

/// 16 bytes to shared memory, or zeros if not `valid`; they arrive with the group of copies they belong to.
__device__ __forceinline__ void copy_to_shared(unsigned char* shared, const void* global, bool valid) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(valid ? 16 : 0)
      : "memory");
}
__device__ __forceinline__ void end_group_of_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// All but the last `kPending` groups of this thread have arrived.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace primus::ops::gpu::mma
