#include "ops/cpu/gemm.h"
#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

/// The three products of a linear layer on gemm(). f16, and bf16 on CPUs whose library has no bf16 product, is
/// multiplied in f32: the operands are converted into scratch memory and the result is rounded once. That is correct
/// and slow; the trainer chooses f32 on such CPUs.
namespace primus::ops::cpu {
namespace {

bool is_multiplied_in_f32(DType dtype) { return dtype == DType::kF16 || (dtype == DType::kBF16 && !gemm_takes_bf16()); }

GemmOperand plain(const Tensor& tensor) { return {tensor.data(), tensor.dtype(), tensor.row_stride(), 1}; }
GemmOperand transposed(const Tensor& tensor) { return {tensor.data(), tensor.dtype(), 1, tensor.row_stride()}; }

Tensor f32_scratch(Scratch use, const Tensor& like) {
  float* data = scratch_floats(use, like.numel());
  if (like.rank() == 1) return {data, DType::kF32, like.device(), like.columns()};
  return {data, DType::kF32, like.device(), like.rows(), like.columns(), like.columns()};
}

Tensor as_f32(Stream& stream, Scratch use, const Tensor& tensor) {
  if (tensor.empty() || tensor.dtype() == DType::kF32) return tensor;
  const Tensor copy = f32_scratch(use, tensor);
  convert(stream, {tensor, copy});
  return copy;
}

/// A result in f32: `run(target)` writes or adds to it.
template <typename Run>
void through_f32(Stream& stream, const Tensor& result, bool accumulate, const Run& run) {
  if (result.dtype() == DType::kF32) return run(result);
  const Tensor copy = f32_scratch(Scratch::kResult, result);
  if (accumulate) convert(stream, {result, copy});
  run(copy);
  convert(stream, {copy, result});
}

}  // namespace

void linear_forward(Stream& stream, const LinearForward& args) {
  if (is_multiplied_in_f32(args.x.dtype())) {
    through_f32(stream, args.y, false, [&](const Tensor& y) {
      linear_forward(stream, {as_f32(stream, Scratch::kLeft, args.x), as_f32(stream, Scratch::kRight, args.weight),
                              as_f32(stream, Scratch::kBias, args.bias), y});
    });
    return;
  }
  gemm({.m = args.x.rows(),
        .n = args.weight.rows(),
        .k = args.x.columns(),
        .a = plain(args.x),
        .b = transposed(args.weight),
        .c = args.y.data(),
        .c_dtype = args.y.dtype(),
        .ldc = args.y.row_stride(),
        .bias = args.bias.data()});
}

void linear_backward_input(Stream& stream, const LinearBackwardInput& args) {
  if (is_multiplied_in_f32(args.dy.dtype())) {
    through_f32(stream, args.dx, args.accumulate, [&](const Tensor& dx) {
      linear_backward_input(stream, {as_f32(stream, Scratch::kLeft, args.dy),
                                     as_f32(stream, Scratch::kRight, args.weight), dx, args.accumulate});
    });
    return;
  }
  gemm({.m = args.dy.rows(),
        .n = args.weight.columns(),
        .k = args.dy.columns(),
        .a = plain(args.dy),
        .b = plain(args.weight),
        .c = args.dx.data(),
        .c_dtype = args.dx.dtype(),
        .ldc = args.dx.row_stride(),
        .accumulate = args.accumulate});
}

void linear_backward_weight(Stream& stream, const LinearBackwardWeight& args) {
  // the library has no product of f32 that is added to bf16
  const bool mixed = args.dy.dtype() == DType::kF32 && args.d_weight.dtype() != DType::kF32;
  if (is_multiplied_in_f32(args.dy.dtype()) || mixed) {
    through_f32(stream, args.d_weight, true, [&](const Tensor& d_weight) {
      linear_backward_weight(stream, {as_f32(stream, Scratch::kLeft, args.dy), as_f32(stream, Scratch::kRight, args.x),
                                      d_weight, args.scale});
    });
    return;
  }
  gemm({.m = args.dy.columns(),
        .n = args.x.columns(),
        .k = args.dy.rows(),
        .a = transposed(args.dy),
        .b = plain(args.x),
        .c = args.d_weight.data(),
        .c_dtype = args.d_weight.dtype(),
        .ldc = args.d_weight.row_stride(),
        .accumulate = true,
        .scale = args.scale});
}

}  // namespace primus::ops::cpu
