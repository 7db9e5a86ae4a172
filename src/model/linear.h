#pragma once

#include <cstdint>
#include <vector>

#include "tensor/stream.h"
#include "tensor/tensor.h"

namespace primus::model {

/// One pass over one micro-batch: the stream, what becomes of the gradients that are there, and what makes dropout's
/// random numbers a pure function of the step.
struct Pass {
  Stream& stream;
  bool training = false;
  std::uint64_t seed = 0;
  std::uint64_t micro_batch = 0;  // counts the micro-batches of the whole run
  bool accumulate = false;        // adds to the gradients of the step's micro-batches before; else overwrites them
};

/// A fused projection y = x·Wᵀ + bias with its adapters inside: the scaled B stands beside the weight as extra columns,
/// [W | s·B] of shape (out, in + R), and u = x·Aᵀ beside the input, [x | u] of shape (T, in + R), so that the adapted
/// projection is one GEMM of depth in + R, and dy·[W | s·B] gives dx and du in one. Adapters of several modules in one
/// projection (q, k, v) are a block-diagonal B. Without adapters R is 0.
struct Linear {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t rank = 0;  // R: all adapters' ranks, rounded up to a multiple of 8

  Tensor weight;    // (out, in + R)
  Tensor bias;      // (out), or empty
  Tensor d_weight;  // (out, in), or empty: frozen
  Tensor d_bias;    // (out), or empty

  struct Adapter {
    std::int64_t row_begin = 0, row_end = 0;        // of the output
    std::int64_t column_begin = 0, column_end = 0;  // of u
    Tensor d_b;                                     // (rows, rank), or empty when not training
  };
  std::vector<Adapter> adapters;
  Tensor a;    // (R, in)
  Tensor d_a;  // (R, in), or empty when not training
  float lora_scale = 0.0F;
  float dropout = 0.0F;
  std::uint64_t id = 0;  // this projection's number in the model, for dropout
  Tensor dropped;        // (max tokens, in): where dropout writes; or empty

  /// Columns of the extended input, in + R.
  std::int64_t extended() const { return in + rank; }

  /// Fills u, the last R columns of `input`, from its first `in` columns. Nothing to do without adapters.
  void adapt(const Pass& pass, const Tensor& input) const;

  /// y (T, out) from input (T, in + R), whose first `in` columns are given; fills the rest. `addend` (T, out): added to
  /// the projection, or empty.
  void forward(const Pass& pass, const Tensor& input, const Tensor& y, const Tensor& addend = {}) const;

  /// Gradients: those of the trainable parameters (biases always add to theirs); d_input (T, in + R) gets dx in its
  /// first `in` columns and du in the rest. `input` as forward left it.
  void backward(const Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& d_input) const;

  /// Its parts, which need not all see the input at the same time. [dx | du] = dy·[W | s·B], where dx still lacks what
  /// comes through A …
  void backward_input(const Pass& pass, const Tensor& dy, const Tensor& d_input) const;
  /// … dx += du·A
  void backward_through_a(const Pass& pass, const Tensor& d_input) const;
  /// The gradients of the weight and the bias, from x (T, in), of A, and of the adapters' Bs, from u (T, R).
  void backward_weight(const Pass& pass, const Tensor& dy, const Tensor& x) const;
  void backward_a(const Pass& pass, const Tensor& du, const Tensor& x) const;
  void backward_b(const Pass& pass, const Tensor& dy, const Tensor& u) const;

  bool drops(const Pass& pass) const { return pass.training && dropout != 0.0F; }

 private:
  Tensor drop(const Pass& pass, const Tensor& x) const;
};

}  // namespace primus::model
