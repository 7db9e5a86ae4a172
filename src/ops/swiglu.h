#pragma once

#include "tensor/stream.h"
#include "tensor/tensor.h"

/// SwiGLU (Shazeer 2020): out = silu(gate) · up, silu(x) = x / (1 + exp(−x)), in f32.
namespace primus::ops {

struct SwigluForward {
  Tensor gate_up;  // (T, 2F): gate in columns 0 … F-1, up in F … 2F-1
  Tensor out;      // (T, F), may have a row stride
};
void swiglu_forward(Stream& stream, const SwigluForward& args);

struct SwigluBackward {
  Tensor d_out;      // (T, F), may have a row stride
  Tensor gate_up;    // (T, 2F)
  Tensor d_gate_up;  // (T, 2F), may be gate_up
};
void swiglu_backward(Stream& stream, const SwigluBackward& args);

}  // namespace primus::ops
