#pragma once

#include <cstdint>

#include "tensor/stream.h"
#include "tensor/tensor.h"

namespace primus::ops {

/// out = scale · in, converted to out's type. Matrices may have row strides. f32, bf16, f16 in any combination.
struct Convert {
  Tensor in;
  Tensor out;
  float scale = 1.0F;
};
void convert(Stream& stream, const Convert& args);

/// out[t, j] = keep ? x[t, j] / (1 − p) : 0, keep where Philox{seed, stream_id}.uniform(t·H + j) ≥ p:
/// the same call with the gradients as x is the backward pass.
struct Dropout {
  Tensor x;    // (T, H), may have a row stride
  Tensor out;  // (T, H), may be x
  float probability = 0.0F;
  std::uint64_t seed = 0;
  std::uint64_t stream_id = 0;
};
void dropout(Stream& stream, const Dropout& args);

}  // namespace primus::ops
