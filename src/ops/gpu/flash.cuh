#pragma once

#include <cstdint>

#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/query_sums.cuh"

/// Flash attention of our own (Dao 2023), for every GPU, type and head size: three kernels over packed documents that
/// are written once (flash_kernels.cuh) over a tile that does the products (flash_plain.cuh, flash_mma.cuh).
///
/// The rows of q, out and their gradients that share a key/value head are handled together: row r of a document and
/// key/value head h is token r / group, query head h·group + r % group. So grouped heads share the keys in shared
/// memory, short documents fill their tiles, and the gradients of keys are summed over the group in registers.
///
/// Which document and tile a block works on it finds itself in cu_seqlens; the host knows only how many there can be.
/// They are deterministic: dq has a kernel of its own that computes the scores once more (7 products, not 5), and no
/// sum depends on other documents or on the order of blocks. A single pass that is not stands beside them.
namespace primus::ops::gpu {

/// The query heads that share a key/value head. Rows are divided by their number without a division, which takes
/// dozens of instructions: right for rows below 2³² / size.
class QueryGroup {
 public:
  __host__ __device__ constexpr explicit QueryGroup(int size)
      : size_(size), reciprocal_(size == 1 ? 0U : 0xFFFFFFFFU / static_cast<unsigned>(size) + 1U) {}

  __host__ __device__ constexpr int size() const { return size_; }
  __device__ int token(int row) const {
    return size_ == 1 ? row : static_cast<int>(__umulhi(static_cast<unsigned>(row), reciprocal_));
  }
  __device__ int head(int row) const { return row - token(row) * size_; }

 private:
  int size_;
  unsigned reciprocal_;
};

struct FlashShape {
  const std::int32_t* cu_seqlens;  // (documents + 1)
  int documents;
  std::int64_t tokens;
  int kv_heads;
  QueryGroup group;
  int head_dim;
  float scale;  // above 0
};

template <typename T>
struct FlashForward {
  FlashShape shape;
  Rows<const T> q, k, v;
  Rows<T> out;
  float* lse;  // (heads, tokens), rows lse_stride apart; or nullptr
  std::int64_t lse_stride;
};

template <typename T>
struct FlashBackward {
  FlashShape shape;
  Rows<const T> q, k, v, out, d_out;
  Rows<T> d_q, d_k, d_v;
  const float* lse;
  std::int64_t lse_stride;
  float* delta;  // (heads, tokens): Σ d_out · out of each row, written and read by backward
};

template <typename T>
struct FlashDecode {
  Rows<const T> q, k, v;  // of the new tokens
  Rows<T> k_cache, v_cache, out;
  const std::int32_t *slots, *positions;  // of each new token
  std::int64_t capacity;
  int tokens, kv_heads, group, head_dim;
  float scale;
};

/// With plain f32 arithmetic: any type (float, 16-bit floats), alignment and head_dim up to 256.
template <typename T>
void flash_plain_forward(gpuStream_t stream, const FlashForward<T>& args);
template <typename T>
void flash_plain_backward(gpuStream_t stream, const FlashBackward<T>& args);
template <typename T>
void flash_decode(gpuStream_t stream, const FlashDecode<T>& args);

/// With matrix instructions: a 16-bit type, head_dim 64 or 128, and every matrix aligned to 16 bytes, its stride too.
template <typename T>
void flash_mma_forward(gpuStream_t stream, const FlashForward<T>& args);
template <typename T>
void flash_mma_backward(gpuStream_t stream, const FlashBackward<T>& args);

/// The same with Hopper's wgmma, where the device has it and it was compiled.
bool flash_has_wgmma(const DeviceLimits& limits);
template <typename T>
void flash_wgmma_forward(gpuStream_t stream, const FlashForward<T>& args);
template <typename T>
void flash_wgmma_backward(gpuStream_t stream, const FlashBackward<T>& args);

/// Backward in one pass (flash_single_pass.cuh), where wgmma is: head_dim 128. It needs neither args.d_q nor args.delta
/// but a workspace, where it adds up dq in no fixed order. by_head: one key/value head after the other; else they take
/// turns, tile by tile.
template <typename T>
QuerySums flash_single_pass_backward(gpuStream_t stream, const FlashBackward<T>& args, bool by_head, void* workspace);
template <typename T>
void round_query_sums(gpuStream_t stream, const QuerySums& sums, int heads, const Rows<T>& d_q);
constexpr int kSinglePassHeadDim = 128;
std::size_t flash_single_pass_workspace(int heads, std::int64_t tokens);

}  // namespace primus::ops::gpu
