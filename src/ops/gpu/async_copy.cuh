#pragma once

#include "ops/gpu/kernel_support.cuh"

/// Copies from memory to shared memory that go on while the thread does other things. When it has waited they are there
/// for itself, and for others after a barrier.
namespace primus::ops::gpu {

/// kBytes (4, 8 or 16, aligned to them), or zeros if not `valid`.
template <int kBytes>
__device__ __forceinline__ void copy_to_shared(void* shared, const void* global, bool valid = true) {
#if defined(PRIMUS_HIP)
  using Word = std::conditional_t<kBytes == 16, uint4, std::conditional_t<kBytes == 8, uint2, unsigned>>;
  *static_cast<Word*>(shared) = valid ? *static_cast<const Word*>(global) : Word{};
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(address), "l"(global), "r"(bytes), "n"(kBytes)
                 : "memory");
  }
#endif
}

/// Makes this thread's copies since the last call a group.
__device__ __forceinline__ void end_group_of_copies() {
#if !defined(PRIMUS_HIP)
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Until all but the last `kPending` groups of this thread have arrived.
template <int kPending>
__device__ __forceinline__ void wait_for_groups_of_copies() {
#if !defined(PRIMUS_HIP)
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

/// Until all copies of this thread have arrived, in groups or not.
__device__ __forceinline__ void wait_for_copies() {
#if !defined(PRIMUS_HIP)
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace primus::ops::gpu
