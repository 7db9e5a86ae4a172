#pragma once

#include "ops/gpu/flash_panel.cuh"

namespace primus::ops::gpu::flash {

/// Hopper's wgmma: a warpgroup multiplies 64 rows, in shared memory or registers, with a matrix in shared memory, and
/// goes on meanwhile. Only code for sm_90a has it.
namespace wgmma {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PRIMUS_WGMMA(...) asm volatile(__VA_ARGS__)
#else
#define PRIMUS_WGMMA(...) __trap()
#endif

/// Before the first instruction, and after registers that it reads or adds to have been written.
__device__ inline void fence() { PRIMUS_WGMMA("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Makes the instructions since the last commit a group.
__device__ inline void commit() { PRIMUS_WGMMA("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Until all but the last kPending groups are done.
template <int kPending>
__device__ void wait() {
  PRIMUS_WGMMA("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// What this thread has written to shared memory is seen by wgmma after a barrier.
__device__ inline void publish() { PRIMUS_WGMMA("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Descriptors of matrices in panels (PanelTile), `panel` bytes each, in two halves: the low one is the address, the
/// high one says that 8 rows are 1024 bytes, swizzled over 128.
__device__ inline unsigned descriptor(unsigned shared, int panel) {
  return (shared & 0x3FFFF) >> 4 | static_cast<unsigned>(panel >> 4) << 16;
}
__device__ inline unsigned descriptor(const unsigned char* address, int panel) {
  return descriptor(static_cast<unsigned>(__cvta_generic_to_shared(address)), panel);
}
constexpr unsigned kDescriptorHigh = 1024 >> 4 | 1U << 30;

// The sums of a thread in the order of the instruction; flash_panel.cuh has them by row and column.
// clang-format off
#define PRIMUS_SUMS_4(n) "+f"(sums[0][n]), "+f"(sums[0][n + 1]), "+f"(sums[1][n]), "+f"(sums[1][n + 1])
#define PRIMUS_SUMS_16(n) PRIMUS_SUMS_4(n), PRIMUS_SUMS_4(n + 2), PRIMUS_SUMS_4(n + 4), PRIMUS_SUMS_4(n + 6)
#define PRIMUS_SUMS_32 PRIMUS_SUMS_16(0), PRIMUS_SUMS_16(8)
#define PRIMUS_SUMS_64 PRIMUS_SUMS_32, PRIMUS_SUMS_16(16), PRIMUS_SUMS_16(24)
#define PRIMUS_NAMES_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
  "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PRIMUS_NAMES_64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
  "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, " \
  "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, " \
  "%62, %63"

// a · bᵀ, both in shared memory, 16 columns each; the sums are kept if `adds`, else overwritten
#define PRIMUS_MULTIPLY(type, columns, count, a_name, b_name, high_name, adds_name) \
  PRIMUS_WGMMA("{.reg .pred adds; .reg .b64 a, b; setp.ne.b32 adds, " adds_name ", 0; mov.b64 a, {" a_name ", " high_name \
               "}; mov.b64 b, {" b_name ", " high_name "}; wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type \
               "." type " {" PRIMUS_NAMES_##count "}, a, b, adds, 1, 1, 0, 0;}" \
               : PRIMUS_SUMS_##count : "r"(a), "r"(b), "r"(kDescriptorHigh), "r"(static_cast<int>(adds)))
// sums + a · b, with a in registers and 16 rows of b in shared memory
#define PRIMUS_ACCUMULATE(type, columns, count, a_names, b_name, high_name) \
  PRIMUS_WGMMA("{.reg .b64 b; mov.b64 b, {" b_name ", " high_name "}; wgmma.mma_async.sync.aligned.m64n" columns \
               "k16.f32." type "." type " {" PRIMUS_NAMES_##count "}, {" a_names "}, b, 1, 1, 1, 1;}" \
               : PRIMUS_SUMS_##count : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b), \
                 "r"(kDescriptorHigh))
// clang-format on

template <typename T, int kLaneColumns>
__device__ void multiply(float (&sums)[2][kLaneColumns], unsigned a, unsigned b, bool adds) {
  static_assert(kLaneColumns == 16 || kLaneColumns == 32);
  if constexpr (kLaneColumns == 16 && std::is_same_v<T, F16>) {
    PRIMUS_MULTIPLY("f16", "64", 32, "%32", "%33", "%34", "%35");
  } else if constexpr (kLaneColumns == 16) {
    PRIMUS_MULTIPLY("bf16", "64", 32, "%32", "%33", "%34", "%35");
  } else if constexpr (std::is_same_v<T, F16>) {
    PRIMUS_MULTIPLY("f16", "128", 64, "%64", "%65", "%66", "%67");
  } else {
    PRIMUS_MULTIPLY("bf16", "128", 64, "%64", "%65", "%66", "%67");
  }
}

template <typename T, int kLaneColumns>
__device__ void accumulate(float (&sums)[2][kLaneColumns], const mma::Fragment& a, unsigned b) {
  static_assert(kLaneColumns == 16 || kLaneColumns == 32);
  if constexpr (kLaneColumns == 16 && std::is_same_v<T, F16>) {
    PRIMUS_ACCUMULATE("f16", "64", 32, "%32, %33, %34, %35", "%36", "%37");
  } else if constexpr (kLaneColumns == 16) {
    PRIMUS_ACCUMULATE("bf16", "64", 32, "%32, %33, %34, %35", "%36", "%37");
  } else if constexpr (std::is_same_v<T, F16>) {
    PRIMUS_ACCUMULATE("f16", "128", 64, "%64, %65, %66, %67", "%68", "%69");
  } else {
    PRIMUS_ACCUMULATE("bf16", "128", 64, "%64, %65, %66, %67", "%68", "%69");
  }
}

}  // namespace wgmma

struct WgmmaBlock {
  int teams;  // warpgroups
  int strip;  // 64 or 128 columns
  int stream_rows;
  int blocks;  // a multiprocessor
};

/// The Tile (flash_kernels.cuh) of wgmma. A team is a warpgroup with 64 rows, each of its warps with 16 of them; left
/// operands stay in shared memory.
template <typename T, int kDim, WgmmaBlock kBlock>
struct WgmmaTile {
  using Element = T;
  static constexpr int kTeam = 128;
  static constexpr int kTeams = kBlock.teams;
  static constexpr int kThreads = kTeam * kTeams;
  static constexpr int kBlocks = kBlock.blocks;
  static constexpr int kRows = 64;
  static constexpr int kStrip = kBlock.strip;
  static constexpr int kOwnRows = kRows * kTeams;
  static constexpr int kStreamRows = kBlock.stream_rows;
  static constexpr int kLaneRows = 2;
  static constexpr int kLaneColumns = kStrip / 4;
  static constexpr int kLaneOutputs = kDim / 4;
  using Own = PanelTile<T, kOwnRows, kDim>;
  using Stream = PanelTile<T, kStreamRows, kDim>;

  __device__ static int warp_row() { return static_cast<int>(threadIdx.x) % kTeam / kWarpSize * 16; }
  __device__ static int row_of(int i) { return warp_row() + row_of_sum(i); }
  __device__ static int column_of(int j) { return column_of_sum(j); }

  struct Left {
    unsigned rows;
    __device__ Left(const Own& tile, int team) : rows(wgmma::descriptor(tile.at(team * kRows, 0), Own::kPanelBytes)) {}
  };

  template <typename SharedTile>
  __device__ static void copy(const SharedTile& tile, const HeadRows<const T>& rows, int first) {
    copy_panels<kThreads>(tile, rows, first);
  }
  __device__ static void wait_for_copies() {
    gpu::wait_for_copies();
    wgmma::publish();
  }

  __device__ static void multiply(float (&scores)[kLaneRows][kLaneColumns], const Left& left, const Stream& right,
                                  int strip) {
    const unsigned rows = wgmma::descriptor(right.at(strip, 0), Stream::kPanelBytes);
    wgmma::fence();
#pragma unroll
    for (int depth = 0; depth < kDim / 16; ++depth) {
      wgmma::multiply<T>(scores, left.rows + columns_in<Own>(depth), rows + columns_in<Stream>(depth), depth > 0);
    }
    wgmma::commit();
  }

  __device__ static void accumulate(float (&out)[kLaneRows][kLaneOutputs],
                                    const float (&scores)[kLaneRows][kLaneColumns], const Stream& right, int strip) {
    const unsigned rows = wgmma::descriptor(right.at(strip, 0), Stream::kPanelBytes);
    mma::Fragment left[kStrip / 16];
#pragma unroll
    for (int depth = 0; depth < kStrip / 16; ++depth) left[depth] = as_fragment<T>(scores, 0, depth);
    wgmma::fence();
#pragma unroll
    for (int depth = 0; depth < kStrip / 16; ++depth) {
      wgmma::accumulate<T>(out, left[depth], rows + depth * (16 * 128 >> 4));
    }
    wgmma::commit();
  }

  template <int kPending>
  __device__ static void wait() {
    wgmma::wait<kPending>();
  }

  __device__ static float row_max(float value) { return quad_max(value); }
  __device__ static float row_sum(float value) { return quad_sum(value); }

  static constexpr int kDotLanes = kDim / 8;
  __device__ static float dot(const T* a, const T* b, int lane, int /*dim*/) {
    return dot_of_chunks(a + lane * 8, b + lane * 8);
  }

  __device__ static void store(const HeadRows<T>& rows, int first, const float (&out)[kLaneRows][kLaneOutputs]) {
    store_sums(rows, first + warp_row(), out);
  }

 private:
  /// What to add to a descriptor for the columns from 16 · depth on.
  template <typename SharedTile>
  __device__ static constexpr unsigned columns_in(int depth) {
    return static_cast<unsigned>(depth / 4 * SharedTile::kPanelBytes + depth % 4 * 32) >> 4;
  }
};

}  // namespace primus::ops::gpu::flash
