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
  Tensor out;        // (T, F): gets what forward wrote, once more; or empty. May be d_out, may have a row stride
};
void swiglu_backward(Stream& stream, const SwigluBackward& args);

/// gate_up = x·Wᵀ + bias and swiglu_forward of it. Where the device has a kernel for it (Hopper, 16-bit types, rows
/// that begin at multiples of 16 bytes, no bias, 64 tokens and more) gate_up is not read again; else this is
/// linear_forward and swiglu_forward in turn. gate_up does not depend on whether `out` is wanted.
struct LinearSwigluForward {
  Tensor x;        // (T, K)
  Tensor weight;   // (2F, K): gate's rows, then up's
  Tensor bias;     // (2F), or empty
  Tensor gate_up;  // (T, 2F)
  Tensor out;      // (T, F), or empty
};
void linear_swiglu_forward(Stream& stream, const LinearSwigluForward& args);

/// swiglu_backward behind the product that makes its gradient: d_out = dy·W. Where the device has a kernel for it
/// (Hopper, 16-bit types, rows that begin at multiples of 16 bytes), d_out stays in f32 and in registers; else this is
/// linear_backward_input and swiglu_backward in turn, and `out` holds d_out, rounded, between them.
struct LinearSwigluBackward {
  Tensor dy;         // (T, N)
  Tensor weight;     // (N, F)
  Tensor gate_up;    // (T, 2F)
  Tensor d_gate_up;  // (T, 2F), may be gate_up
  Tensor out;        // (T, F): gets what forward wrote, once more
};
void linear_swiglu_backward(Stream& stream, const LinearSwigluBackward& args);

/// swiglu_backward between low-rank adapters (Hu et al. 2021): `out` feeds the A of the projection behind it, and gate
/// and up come in part from the Bs of theirs. With d = d_out + du·A, out and d_gate_up as in SwigluBackward from d
/// instead of d_out:
///   dA = duᵀ·out,  dB_gate = scale · d_gateᵀ·u_gate,  dB_up = scale · d_upᵀ·u_up
/// The wide matrices are read and written once where the device has a kernel for it (16-bit types, ranks that are
/// multiples of 8 up to 64); else this is a sequence of the other operations, which rounds d to the compute type.
struct SwigluLoraBackward {
  Tensor d_out;  // (T, F), may have a row stride; scratch afterwards
  Tensor du;     // (T, R): gradient of out·Aᵀ
  Tensor a;      // (R, F)
  Tensor d_a;    // (R, F), f32 or bf16

  Tensor gate_up;    // (T, 2F)
  Tensor d_gate_up;  // (T, 2F), may be gate_up
  Tensor u_gate;     // (T, r): input of the gate's B
  Tensor u_up;       // (T, r)
  Tensor d_b_gate;   // (F, r), f32 or bf16
  Tensor d_b_up;     // (F, r)
  float scale = 1.0F;
  bool accumulate = false;  // adds to dA and dB, else overwrites them
};
void swiglu_lora_backward(Stream& stream, const SwigluLoraBackward& args);

}  // namespace primus::ops
