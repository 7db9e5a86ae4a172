#pragma once

#include "tensor/stream.h"
#include "tensor/tensor.h"

/// Root-mean-square norm (Zhang & Sennrich 2019, eq. 4): y = x · rstd · w, rstd = 1/sqrt(mean(x²) + eps), in f32.
/// As in Hugging Face, x·rstd is rounded to the compute type before it is multiplied by w.
namespace primus::ops {

struct RmsNormForward {
  Tensor x;       // (T, H)
  Tensor weight;  // (H)
  float eps = 1e-6F;
  Tensor y;     // (T, H), may have a row stride
  Tensor rstd;  // (T) f32, kept for backward; or empty
};
void rms_norm_forward(Stream& stream, const RmsNormForward& args);

/// dx = d_residual + ∂y/∂x · dy;  d_weight += Σ_t dy·x·rstd
struct RmsNormBackward {
  Tensor dy;          // (T, H), may have a row stride
  Tensor x;           // (T, H)
  Tensor weight;      // (H)
  Tensor rstd;        // (T) f32
  Tensor d_residual;  // (T, H), or empty for zero; may be dx
  Tensor dx;          // (T, H); may be dy where the strides are equal
  Tensor d_weight;    // (H) f32 or bf16, or empty: the weight is frozen
};
void rms_norm_backward(Stream& stream, const RmsNormBackward& args);

/// sum = x + delta
struct Add {
  Tensor x;      // (T, H)
  Tensor delta;  // (T, H)
  Tensor sum;    // (T, H), may be x or delta
};
void add(Stream& stream, const Add& args);

}  // namespace primus::ops
