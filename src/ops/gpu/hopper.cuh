#pragma once

#include <cuda.h>

#include "ops/gpu/flash_wgmma.cuh"

/// What kernels for sm_90a alone use beside wgmma: barriers that count copies, the copy engine, clusters of blocks.
/// Shared memory is given by its 32-bit address.
namespace primus::ops::gpu::flash::hopper {

__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// An mbarrier of 8 bytes: a phase ends when `arrivals` threads have arrived and the announced bytes too.
class Barrier {
 public:
  static constexpr int kBytes = 8;
  __device__ explicit Barrier(unsigned address) : address_(address) {}

  __device__ void init(int arrivals) const {
    PRIMUS_WGMMA("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address_), "r"(arrivals) : "memory");
  }
  __device__ void arrive() const {
    PRIMUS_WGMMA("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address_) : "memory");
  }
  __device__ void arrive_and_expect(int bytes) const {
    PRIMUS_WGMMA("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_), "r"(bytes) : "memory");
  }
  /// Until the phase of this parity is over.
  __device__ void wait(unsigned parity) const {
    PRIMUS_WGMMA(
        "{.reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; @!done bra again;}" ::"r"(
            address_),
        "r"(parity)
        : "memory");
  }
  __device__ unsigned address() const { return address_; }

 private:
  unsigned address_;
};

/// Barriers that were initialised are seen by the copy engine, after a barrier by other threads.
__device__ inline void publish_barriers() { PRIMUS_WGMMA("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// The stage of a ring whose turn it is, and the parity of the phase that its barrier is in.
template <int kStages>
struct Turn {
  int stage = 0;
  unsigned parity = 0;

  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  __device__ void advance(int by) {
    const int to = stage + by;
    stage = to % kStages;
    parity ^= static_cast<unsigned>(to / kStages) & 1U;
  }
};

/// The box at (column, row) of a matrix to shared memory; its bytes arrive at the barrier.
__device__ inline void copy_box(unsigned shared, const CUtensorMap& map, int column, int row, Barrier barrier) {
  PRIMUS_WGMMA(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          shared),
      "l"(&map), "r"(column), "r"(row), "r"(barrier.address())
      : "memory");
}

/// The same to both blocks of a cluster, at the same place of their shared memory; the bytes arrive at the barriers of
/// both.
__device__ inline void copy_box_to_both(unsigned shared, const CUtensorMap& map, int column, int row, Barrier barrier) {
  PRIMUS_WGMMA(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, "
      "%3}], [%4], %5;" ::"r"(shared),
      "l"(&map), "r"(column), "r"(row), "r"(barrier.address()), "h"(static_cast<unsigned short>(3))
      : "memory");
}

/// A box from shared memory, in the background: it belongs to the group of this thread's next commit.
__device__ inline void store_box(const CUtensorMap& map, int column, int row, unsigned shared) {
  PRIMUS_WGMMA("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(column),
               "r"(row), "r"(shared)
               : "memory");
}
__device__ inline void commit_stores() { PRIMUS_WGMMA("cp.async.bulk.commit_group;" ::: "memory"); }
/// What this thread stores in the background has been written.
__device__ inline void wait_until_written() { PRIMUS_WGMMA("cp.async.bulk.wait_group 0;" ::: "memory"); }

/// Adds `bytes` (a multiple of 16) of floats in shared memory to global memory, in the background.
__device__ inline void add_in_background(float* global, unsigned shared, int bytes) {
  PRIMUS_WGMMA(
      "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2; cp.async.bulk.commit_group;" ::"l"(
          global),
      "r"(shared), "r"(bytes)
      : "memory");
}
/// What this thread adds or stores in the background has been read, but for the last kPending groups.
template <int kPending = 0>
__device__ void wait_until_read() {
  PRIMUS_WGMMA("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

/// More or fewer registers for this warpgroup's threads from now on.
template <int kCount>
__device__ void take_registers() {
  PRIMUS_WGMMA("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ void give_registers() {
  PRIMUS_WGMMA("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

/// Barrier kName, of kThreads threads.
template <int kName, int kThreads>
__device__ void synchronize() {
  PRIMUS_WGMMA("bar.sync %0, %1;" ::"n"(kName), "n"(kThreads) : "memory");
}

/// The same for a name that is known only when the kernel runs; and arriving without waiting.
__device__ inline void synchronize(int name, int threads) {
  PRIMUS_WGMMA("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}
__device__ inline void signal(int name, int threads) {
  PRIMUS_WGMMA("bar.arrive %0, %1;" ::"r"(name), "r"(threads) : "memory");
}

/// Of all threads of a cluster of blocks that have not left.
__device__ inline void synchronize_cluster() {
  PRIMUS_WGMMA("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// Arrives at the barrier that another block of the cluster has at this place.
__device__ inline void arrive_at(Barrier barrier, int block) {
  PRIMUS_WGMMA(
      "{.reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; mbarrier.arrive.shared::cluster.b64 _, "
      "[remote];}" ::"r"(barrier.address()),
      "r"(block)
      : "memory");
}

/// 16 bytes of the shared memory of another block of the cluster, at the address that they have in this one.
__device__ inline float4 load_remote(unsigned shared, int block) {
  float4 value = {};
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{.reg .b32 remote; mapa.shared::cluster.u32 remote, %4, %5; ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, "
      "[remote];}"
      : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
      : "r"(shared), "r"(block)
      : "memory");
#endif
  return value;
}

/// Four 8 × 8 matrices of a warp to shared memory; `chunk` is the place of 16 bytes for each lane, as in mma::load.
__device__ inline void store(unsigned chunk, const mma::Fragment& f) {
  PRIMUS_WGMMA("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(chunk), "r"(f.words[0]),
               "r"(f.words[1]), "r"(f.words[2]), "r"(f.words[3])
               : "memory");
}

/// Keeps what reads `sums` behind the wait for the products that write them.
template <int kColumns>
__device__ void settle(float (&sums)[2][kColumns]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) asm volatile("" : "+f"(sums[i][j])::"memory");
  }
}

}  // namespace primus::ops::gpu::flash::hopper
