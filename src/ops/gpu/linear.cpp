#include <cstdlib>
#include <string_view>

#include "ops/gpu/blas_lt.h"
#include "ops/gpu/fill_rows.h"
#include "ops/gpu/stream_state.h"
#include "ops/gpu/table.h"

/// The three products of a linear layer. Our matrices are row-major, so each is its transpose to BLAS, and every
/// equation is read transposed: y = x·Wᵀ becomes yᵀ = W·xᵀ.
namespace primus::ops::gpu {
namespace {

/// The largest power of two up to 16 that divides the address and the distance between rows.
int alignment_of(const Tensor& matrix) {
  const auto address = reinterpret_cast<std::uintptr_t>(matrix.data());
  const auto stride = static_cast<std::uintptr_t>(matrix.row_stride()) * size_of(matrix.dtype());
  int alignment = 16;
  while ((address | stride) % static_cast<std::uintptr_t>(alignment) != 0) alignment /= 2;
  return alignment;
}

/// PRIMUS_GEMM=plain: without cuBLASLt, to compare.
bool wants_plain() {
  const char* setting = std::getenv("PRIMUS_GEMM");
  return setting != nullptr && std::string_view(setting) == "plain";
}

/// d = alpha · op(a)·op(b) + addend, where there is one: `a`, `b`, `addend` and `d` as BLAS sees the row-major
/// matrices, that is transposed.
void multiply(Stream& stream, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
              const Tensor& addend, const Tensor& d, float alpha = 1.0F) {
  const Tensor& c = addend ? addend : d;
  const GemmShape shape{.in = a.dtype(),
                        .out = d.dtype(),
                        .transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .adds_c = !addend.empty(),
                        .m = d.columns(),
                        .n = d.rows(),
                        .k = transpose_a ? a.columns() : a.rows(),
                        .lda = a.row_stride(),
                        .ldb = b.row_stride(),
                        .ldc = c.row_stride(),
                        .ldd = d.row_stride(),
                        .alignment_a = alignment_of(a),
                        .alignment_b = alignment_of(b),
                        .alignment_c = alignment_of(c),
                        .alignment_d = alignment_of(d)};
  if (shape.m == 0 || shape.n == 0) return;
  const GemmOperands operands{a.data(), b.data(), c.data(), d.data(), alpha};
  StreamState& state = state_of(stream);
  if (state.blas == nullptr) state.blas = std::make_unique<BlasLt>(stream);
  if (shape.k == 0 || wants_plain() || !state.blas->multiply(stream, shape, operands)) {
    plain_gemm(stream, shape, operands);
  }
}

}  // namespace

void linear_forward(Stream& stream, const LinearForward& args) {
  // One more pass over y than the library's epilogue would take, in the models that have a bias (Qwen2), and no second
  // choice of algorithms; both round the product before they add (ops/linear.h).
  if (args.bias) fill_rows(stream, args.bias, args.addend, args.y);
  multiply(stream, args.weight, true, args.x, false, args.bias ? args.y : args.addend, args.y);
}

void linear_backward_input(Stream& stream, const LinearBackwardInput& args) {
  multiply(stream, args.weight, false, args.dy, false, args.accumulate ? args.dx : Tensor(), args.dx);
}

void linear_backward_weight(Stream& stream, const LinearBackwardWeight& args) {
  multiply(stream, args.x, false, args.dy, true, args.accumulate ? args.d_weight : Tensor(), args.d_weight, args.scale);
}

}  // namespace primus::ops::gpu
