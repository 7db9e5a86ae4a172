#pragma once

#include "tensor/stream.h"
#include "tensor/tensor.h"

/// Rotary position embedding (Su et al. 2021), with Qwen3's norm over each head of q and k before it.
/// Half-split layout, as Hugging Face: for j < D/2, (a, b) = (x[j], x[j + D/2]) becomes
/// (a·cos − b·sin, b·cos + a·sin) with cos, sin at [position, j].
namespace primus::ops {

struct RopeForward {
  Tensor q;          // (T, heads·D), columns of the fused projection
  Tensor k;          // (T, kv_heads·D)
  int head_dim = 0;  // D, even
  Tensor q_weight;   // (D), or empty: no norm
  Tensor k_weight;   // (D), or empty
  float eps = 1e-6F;
  Tensor positions;  // (T) i32, within the document
  Tensor cos;        // (positions, D/2) f32
  Tensor sin;        // (positions, D/2) f32
  Tensor q_out;      // (T, heads·D); without norm it may be q
  Tensor k_out;      // (T, kv_heads·D); without norm it may be k
  Tensor rstd;       // (T, heads + kv_heads) f32 with norm; or empty
};
void rope_forward(Stream& stream, const RopeForward& args);

/// From the gradients of q_out, k_out to those of q, k; d_q_weight and d_k_weight are added to.
struct RopeBackward {
  Tensor d_q_out;   // (T, heads·D)
  Tensor d_q_sums;  // what attention_backward_sums returned; if not empty, d_q_out is not read
  Tensor d_k_out;   // (T, kv_heads·D)
  int head_dim = 0;
  Tensor q;           // (T, heads·D) as forward saw it; only with norm
  Tensor k;           // (T, kv_heads·D); only with norm
  Tensor q_weight;    // (D), or empty: no norm
  Tensor k_weight;    // (D), or empty
  Tensor rstd;        // (T, heads + kv_heads) f32; only with norm
  Tensor positions;   // (T) i32
  Tensor cos;         // (positions, D/2) f32
  Tensor sin;         // (positions, D/2) f32
  Tensor d_q;         // (T, heads·D), may be d_q_out
  Tensor d_k;         // (T, kv_heads·D), may be d_k_out
  Tensor d_q_weight;  // (D) f32 or bf16, or empty: frozen
  Tensor d_k_weight;  // (D), or empty
};
void rope_backward(Stream& stream, const RopeBackward& args);

}  // namespace primus::ops
