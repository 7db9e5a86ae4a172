#pragma once

#include "tensor/stream.h"
#include "tensor/tensor.h"

/// The three products of a linear layer y = x·Wᵀ + b with weights stored (out, in), as in Hugging Face files. Sums are
/// kept in f32 whatever the element types. x, W and y are of one compute type (f32, bf16, f16), except where said.
/// A product that is added to 16-bit numbers, a bias among them, may be rounded to their type first: on Hopper cuBLASLt
/// does so in nearly every shape with rows aligned to 16 bytes (bench/results/2026-11-23-cuda-ops.md). One that is
/// added to f32 is not. All matrices may have a row stride. No dimension needs to be a multiple of anything; M may be
/// 0.
namespace primus::ops {

/// y = x·Wᵀ + bias + addend; the sum of the last two may be rounded to y's type first
struct LinearForward {
  Tensor x;       // (M, K)
  Tensor weight;  // (N, K)
  Tensor bias;    // (N) of the compute type, or empty
  Tensor addend;  // (M, N) of y's type, or empty; may be y
  Tensor y;       // (M, N); of the compute type, or f32
};
void linear_forward(Stream& stream, const LinearForward& args);

/// dx = dy·W, or dx += dy·W
struct LinearBackwardInput {
  Tensor dy;      // (M, N)
  Tensor weight;  // (N, K)
  Tensor dx;      // (M, K)
  bool accumulate = false;
};
void linear_backward_input(Stream& stream, const LinearBackwardInput& args);

/// dW += scale · dyᵀ·x, or dW = scale · dyᵀ·x: gradients add up over micro-batches, and the first one of a step
/// overwrites those of the step before, which saves clearing and reading them.
struct LinearBackwardWeight {
  Tensor dy;        // (M, N)
  Tensor x;         // (M, K)
  Tensor d_weight;  // (N, K), f32 or bf16
  float scale = 1.0F;
  bool accumulate = true;
};
void linear_backward_weight(Stream& stream, const LinearBackwardWeight& args);

/// d_bias += Σ over rows of dy
struct BiasBackward {
  Tensor dy;      // (M, N)
  Tensor d_bias;  // (N), f32 or bf16
};
void bias_backward(Stream& stream, const BiasBackward& args);

}  // namespace primus::ops
