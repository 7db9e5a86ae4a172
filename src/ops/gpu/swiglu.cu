#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

template <typename T, int kWidth>
struct Forward {
  Rows<T> gate_up;
  Rows<T> out;
  Index width;  // F

  __device__ void operator()(Index row, Index column) const {
    const auto gate = load<kWidth>(gate_up.at(row, column));
    const auto up = load<kWidth>(gate_up.at(row, column + width));
    Floats<kWidth> result;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) result[i] = gate[i] / (1.0F + expf(-gate[i])) * up[i];
    store(out.at(row, column), result);
  }
};

template <typename T, int kWidth>
struct Backward {
  Rows<T> d_out;
  Rows<T> gate_up;
  Rows<T> d_gate_up;
  Rows<T> out;  // or not there
  Index width;  // F

  __device__ void operator()(Index row, Index column) const {
    const auto d = load<kWidth>(d_out.at(row, column));
    const auto gate = load<kWidth>(gate_up.at(row, column));
    const auto up = load<kWidth>(gate_up.at(row, column + width));
    Floats<kWidth> d_gate, d_up, result;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float sigmoid = 1.0F / (1.0F + expf(-gate[i]));
      const float silu = gate[i] * sigmoid;
      d_gate[i] = d[i] * up[i] * (sigmoid + silu * (1.0F - sigmoid));
      d_up[i] = d[i] * silu;
      result[i] = silu * up[i];
    }
    store(d_gate_up.at(row, column), d_gate);
    store(d_gate_up.at(row, column + width), d_up);
    if (out) store(out.at(row, column), result);
  }
};

/// The halves of gate_up, each of which has to allow packs.
Tensor half_of(const Tensor& gate_up, int half) {
  const Index width = gate_up.columns() / 2;
  return gate_up.columns(half * width, (half + 1) * width);
}

}  // namespace

void swiglu_forward(Stream& stream, const SwigluForward& args) {
  const auto& [gate_up, out] = args;
  with_element_type(out.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>(
        [&](auto width) {
          for_each_pack<width>(stream, "swiglu_forward", out.rows(), out.columns(),
                               Forward<T, width>{rows_of<T>(gate_up), rows_of<T>(out), out.columns()});
        },
        half_of(gate_up, 0), half_of(gate_up, 1), out);
  });
}

void swiglu_backward(Stream& stream, const SwigluBackward& args) {
  const auto& [d_out, gate_up, d_gate_up, out] = args;
  with_element_type(d_out.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>(
        [&](auto width) {
          for_each_pack<width>(stream, "swiglu_backward", d_out.rows(), d_out.columns(),
                               Backward<T, width>{rows_of<T>(d_out), rows_of<T>(gate_up), rows_of<T>(d_gate_up),
                                                  rows_of<T>(out), d_out.columns()});
        },
        d_out, half_of(gate_up, 0), half_of(gate_up, 1), half_of(d_gate_up, 0), half_of(d_gate_up, 1), out);
  });
}

}  // namespace primus::ops::gpu
