#include <algorithm>
#include <cmath>

#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {
namespace {

/// Vectors and contiguous matrices are cut into pieces of this many elements, other matrices into rows.
constexpr Index kPiece = 4096;

}  // namespace

void swiglu_forward(Stream&, const SwigluForward& args) {
  const ElementKernels& table = kernels_of(args.out.dtype());
  parallel_ranges(args.out.rows(), args.gate_up.columns(), [&](Index begin, Index end) {
    table.swiglu(rows_of(args.gate_up), rows_of(args.out), args.out.columns(), begin, end);
  });
}

void swiglu_backward(Stream&, const SwigluBackward& args) {
  const ElementKernels& table = kernels_of(args.d_out.dtype());
  parallel_ranges(args.d_out.rows(), args.gate_up.columns(), [&](Index begin, Index end) {
    table.swiglu_backward(rows_of(args.d_out), rows_of(args.gate_up), rows_of(args.d_gate_up), rows_of(args.out),
                          args.d_out.columns(), begin, end);
  });
}

bool linear_swiglu_forward(Stream&, const LinearSwigluForward&) { return false; }
bool linear_swiglu_backward(Stream&, const LinearSwigluBackward&) { return false; }
bool swiglu_lora_backward(Stream&, const SwigluLoraBackward&) { return false; }

void convert(Stream&, const Convert& args) {
  const Tensor& in = args.in;
  const Tensor& out = args.out;
  const float scale = args.scale;
  const auto kernel = kernels_of(in.dtype()).convert[element_index(out.dtype())];
  if (in.is_contiguous() && out.is_contiguous()) {
    const Index count = in.numel();
    parallel_ranges((count + kPiece - 1) / kPiece, kPiece, [&](Index begin, Index end) {
      const Index first = begin * kPiece, last = std::min(count, end * kPiece);
      kernel(element_at(in.data(), in.dtype(), first), element_at(out.data(), out.dtype(), first), scale, last - first);
    });
    return;
  }
  parallel_ranges(in.rows(), in.columns(), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) kernel(row_at(in, t), row_at(out, t), scale, in.columns());
  });
}

void dropout(Stream&, const Dropout& args) {
  const ElementKernels& table = kernels_of(args.x.dtype());
  const RandomStream random = {args.seed, args.stream_id};
  // Philox::uniform(i) = (word >> 8) · 2^-24 is at least p exactly when word >> 8 is at least this
  const auto threshold = static_cast<std::uint32_t>(std::ceil(args.probability * 0x1p24F));
  const float scale = 1.0F / (1.0F - args.probability);
  const Index columns = args.x.columns();
  parallel_ranges(args.x.rows(), columns, [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      table.dropout(row_at(args.x, t), row_at(args.out, t), columns, random, static_cast<std::uint64_t>(t * columns),
                    threshold, scale);
    }
  });
}

}  // namespace primus::ops::cpu
