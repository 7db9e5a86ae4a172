#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/gpu/runtime.h"

/// Flash attention of our own (Dao 2023), for every GPU, type and head size: three kernels over packed documents that
/// are written once (flash_kernels.cuh) over a tile that does the products (flash_plain.cuh, flash_mma.cuh).
///
/// The rows of q, out and their gradients that share a key/value head are handled together: row r of a document and
/// key/value head h is token r / group, query head h·group + r % group. So grouped heads share the keys in shared
/// memory, short documents fill their tiles, and the gradients of keys are summed over the group in registers.
///
/// Which document and tile a block works on it finds itself in cu_seqlens; the host knows only how many there can be.
/// Everything is deterministic: dq has a kernel of its own that computes the scores once more (7 products, not 5), and
/// no sum depends on other documents or on the order of blocks.
namespace primus::ops::gpu {

/// A matrix (T, heads · head_dim): its rows are `stride` elements apart.
template <typename T>
struct FlashMatrix {
  T* data;
  std::int64_t stride;
};

struct FlashShape {
  const std::int32_t* cu_seqlens;  // (documents + 1)
  int documents;
  std::int64_t tokens;
  int kv_heads;
  int group;  // query heads of a key/value head
  int head_dim;
  float scale;  // above 0
};

template <typename T>
struct FlashForward {
  FlashShape shape;
  FlashMatrix<const T> q, k, v;
  FlashMatrix<T> out;
  float* lse;  // (heads, tokens), rows lse_stride apart; or nullptr
  std::int64_t lse_stride;
};

template <typename T>
struct FlashBackward {
  FlashShape shape;
  FlashMatrix<const T> q, k, v, out, d_out;
  FlashMatrix<T> d_q, d_k, d_v;
  const float* lse;
  std::int64_t lse_stride;
  float* delta;  // (heads, tokens): Σ d_out · out of each row, written and read by backward
};

template <typename T>
struct FlashDecode {
  FlashMatrix<const T> q, k, v;
  FlashMatrix<T> out;
  const std::int32_t* lengths;
  std::int64_t capacity;
  int sequences, kv_heads, group, head_dim;
  float scale;
};

/// T is float, or a 16-bit type of the device with head_dim 64 or 128 and everything aligned to 16 bytes: then with
/// matrix instructions.
template <typename T>
void flash_forward(gpuStream_t stream, const FlashForward<T>& args);
template <typename T>
void flash_backward(gpuStream_t stream, const FlashBackward<T>& args);
template <typename T>
void flash_decode(gpuStream_t stream, const FlashDecode<T>& args);

}  // namespace primus::ops::gpu
