#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/stream.h"
#include "tensor/tensor.h"

/// Causal attention over packed documents, softmax(scale · q·kᵀ)·v, with grouped-query heads: query head h reads
/// key/value head h / (heads / kv_heads). Tokens see the tokens before them in their own document and themselves,
/// nothing else. Blocked as FlashAttention (Dao 2023): no s×s matrix ever exists. Every token belongs to a document:
/// cu_seqlens[0] = 0 and cu_seqlens[documents] = T; documents may be empty.
namespace primus::ops {

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;  // D, up to 256
  float scale = 1.0F;
  bool deterministic = false;  // backward gives the same bits every time, where that costs speed (on GPUs)
};

struct AttentionForward {
  AttentionShape shape;
  Tensor q;                     // (T, heads·D), may have a row stride, as k and v
  Tensor k;                     // (T, kv_heads·D)
  Tensor v;                     // (T, kv_heads·D)
  Tensor cu_seqlens;            // (documents + 1) i32
  std::int64_t max_seqlen = 0;  // no document is longer
  Tensor out;                   // (T, heads·D), may have a row stride
  Tensor lse;                   // (heads, T) f32: log Σ exp of the scaled scores, kept for backward; or empty
};
void attention_forward(Stream& stream, const AttentionForward& args);

struct AttentionBackward {
  AttentionShape shape;
  Tensor d_out;  // (T, heads·D)
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor out;  // (T, heads·D) as forward wrote it
  Tensor lse;  // (heads, T) f32
  Tensor cu_seqlens;
  std::int64_t max_seqlen = 0;
  Tensor d_q;        // (T, heads·D), may have a row stride, as d_k and d_v
  Tensor d_k;        // (T, kv_heads·D)
  Tensor d_v;        // (T, kv_heads·D)
  Tensor workspace;  // u8, attention_backward_workspace() bytes
};
void attention_backward(Stream& stream, const AttentionBackward& args);

/// The same for rope_backward to follow. Where the kernel adds up dq in f32, it writes all but d_q and returns those
/// sums, unrounded: heads·T·D of them in the workspace, in an order that rope_backward knows (its d_q_sums). Elsewhere
/// it writes d_q and returns an empty Tensor.
Tensor attention_backward_sums(Stream& stream, const AttentionBackward& args);

/// Bytes of workspace for up to `tokens` tokens of this type on this device.
std::size_t attention_backward_workspace(Device device, DType dtype, const AttentionShape& shape, std::int64_t tokens);

/// One new token each of B sequences that have a cache of keys and values, for generation: stores its k and v as row
/// positions[b] of its sequence, which then attends to the rows up to this one.
struct AttentionDecode {
  AttentionShape shape;
  Tensor q;        // (B, heads·D), may have a row stride, as k and v
  Tensor k;        // (B, kv_heads·D)
  Tensor v;        // (B, kv_heads·D)
  Tensor k_cache;  // (sequences·capacity, kv_heads·D), sequence s in rows s·capacity …
  Tensor v_cache;  // (sequences·capacity, kv_heads·D)
  std::int64_t capacity = 0;
  Tensor slots;      // (B) i32: the sequence of each, all different
  Tensor positions;  // (B) i32, below capacity
  Tensor out;        // (B, heads·D), may have a row stride
};
void attention_decode(Stream& stream, const AttentionDecode& args);

}  // namespace primus::ops
