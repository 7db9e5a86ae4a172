#include <algorithm>

#include "ops/cpu/bf16_speed.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/implementation.h"
#include "ops/cpu/support.h"

/// The three products of a linear layer on gemm(). f16 is multiplied in f32, and so is bf16 where that is faster (see
/// bf16_speed.h): blocks of the operands are converted into scratch memory, products of 16-bit numbers are exact in f32
/// and sums are formed in f32, and the result is rounded once, as it would be by a product in the type itself.
namespace primus::ops::cpu {
namespace {

/// Elements of a converted block (4 MiB): it is used again while it is in the cache.
constexpr Index kBlockElements = Index{1} << 20;

bool is_multiplied_in_f32(DType dtype) {
  return dtype == DType::kF16 || (dtype == DType::kBF16 && !bf16_products_are_fast());
}

GemmOperand plain(const Tensor& tensor) { return {tensor.data(), tensor.dtype(), tensor.row_stride(), 1}; }
GemmOperand transposed(const Tensor& tensor) { return {tensor.data(), tensor.dtype(), 1, tensor.row_stride()}; }

void multiply(const GemmOperand& a, const GemmOperand& b, Index k, const Tensor& c, bool accumulate, float scale = 1.0F,
              const Tensor& bias = {}) {
  gemm({.m = c.rows(),
        .n = c.columns(),
        .k = k,
        .a = a,
        .b = b,
        .c = c.data(),
        .c_dtype = c.dtype(),
        .ldc = c.row_stride(),
        .bias = bias.data(),
        .accumulate = accumulate,
        .scale = scale});
}

/// How many of `rows` rows of `columns` elements make a block; blocks are about equal and, but for the last, multiples
/// of 64 rows.
Index rows_of_block(Index rows, Index columns) {
  const Index blocks = (rows * columns + kBlockElements - 1) / kBlockElements;
  if (blocks <= 1) return rows;
  const Index even = (rows + blocks - 1) / blocks;
  return std::min(rows, (even + 63) / 64 * 64);
}

/// body(begin, end) for consecutive blocks of [0, count).
template <typename Body>
void for_blocks(Index count, Index size, const Body& body) {
  for (Index begin = 0; begin < count; begin += size) body(begin, std::min(count, begin + size));
}

Tensor f32_scratch(Scratch use, const Tensor& like) {
  float* data = scratch_floats(use, like.numel());
  if (like.rank() == 1) return {data, DType::kF32, like.device(), like.columns()};
  return {data, DType::kF32, like.device(), like.rows(), like.columns(), like.columns()};
}

Tensor in_f32(Stream& stream, Scratch use, const Tensor& tensor) {
  if (tensor.empty() || tensor.dtype() == DType::kF32) return tensor;
  const Tensor copy = f32_scratch(use, tensor);
  convert(stream, {tensor, copy});
  return copy;
}

/// `run(target)` writes `result` in f32, or, where there is an addend, finds it there and adds to it.
template <typename Run>
void through_f32(Stream& stream, const Tensor& result, const Tensor& addend, const Run& run) {
  const Tensor target = result.dtype() == DType::kF32 ? result : f32_scratch(Scratch::kResult, result);
  if (addend && addend.data() != target.data()) convert(stream, {addend, target});
  run(target);
  if (target.data() != result.data()) convert(stream, {target, result});
}

Tensor block_of(const Tensor& matrix, Index row_begin, Index row_end, Index column_begin, Index column_end) {
  return matrix ? matrix.slice(row_begin, row_end).columns(column_begin, column_end) : Tensor();
}

void forward_in_f32(Stream& stream, const LinearForward& args) {
  const Index m = args.x.rows(), n = args.weight.rows(), k = args.x.columns();
  const Index m_block = rows_of_block(m, k), n_block = rows_of_block(n, std::max(k, m_block));
  for_blocks(m, m_block, [&](Index m_begin, Index m_end) {
    const Tensor x = in_f32(stream, Scratch::kLeft, args.x.slice(m_begin, m_end));
    for_blocks(n, n_block, [&](Index n_begin, Index n_end) {
      const Tensor weight = in_f32(stream, Scratch::kRight, args.weight.slice(n_begin, n_end));
      const Tensor bias = args.bias ? in_f32(stream, Scratch::kBias, args.bias.slice(n_begin, n_end)) : Tensor();
      const Tensor addend = block_of(args.addend, m_begin, m_end, n_begin, n_end);
      through_f32(stream, block_of(args.y, m_begin, m_end, n_begin, n_end), addend,
                  [&](const Tensor& y) { multiply(plain(x), transposed(weight), k, y, !addend.empty(), 1.0F, bias); });
    });
  });
}

void backward_input_in_f32(Stream& stream, const LinearBackwardInput& args) {
  const Index m = args.dy.rows(), n = args.dy.columns(), k = args.weight.columns();
  const Index m_block = rows_of_block(m, std::min<Index>(std::max(n, k), 4096));
  const Index n_block = rows_of_block(n, std::max(k, m_block));
  for_blocks(m, m_block, [&](Index m_begin, Index m_end) {
    const Tensor result = args.dx.slice(m_begin, m_end);
    through_f32(stream, result, args.accumulate ? result : Tensor(), [&](const Tensor& dx) {
      for_blocks(n, n_block, [&](Index n_begin, Index n_end) {
        const Tensor dy = in_f32(stream, Scratch::kLeft, args.dy.slice(m_begin, m_end).columns(n_begin, n_end));
        const Tensor weight = in_f32(stream, Scratch::kRight, args.weight.slice(n_begin, n_end));
        multiply(plain(dy), plain(weight), n_end - n_begin, dx, args.accumulate || n_begin > 0);
      });
    });
  });
}

void backward_weight_in_f32(Stream& stream, const LinearBackwardWeight& args) {
  const Index m = args.dy.rows(), n = args.dy.columns(), k = args.x.columns();
  const Index m_block = rows_of_block(m, k / 4), n_block = rows_of_block(n, std::max(k, m_block));
  Tensor x = m_block == m ? in_f32(stream, Scratch::kRight, args.x) : Tensor();
  for_blocks(n, n_block, [&](Index n_begin, Index n_end) {
    const Tensor result = args.d_weight.slice(n_begin, n_end);
    through_f32(stream, result, args.accumulate ? result : Tensor(), [&](const Tensor& d_weight) {
      for_blocks(m, m_block, [&](Index m_begin, Index m_end) {
        const Tensor dy = in_f32(stream, Scratch::kLeft, args.dy.slice(m_begin, m_end).columns(n_begin, n_end));
        if (m_block != m) x = in_f32(stream, Scratch::kRight, args.x.slice(m_begin, m_end));
        multiply(transposed(dy), plain(x), m_end - m_begin, d_weight, args.accumulate || m_begin > 0, args.scale);
      });
    });
  });
}

}  // namespace

void linear_forward(Stream& stream, const LinearForward& args) {
  if (is_multiplied_in_f32(args.x.dtype())) return forward_in_f32(stream, args);
  if (args.addend && args.addend.data() != args.y.data()) convert(stream, {args.addend, args.y});
  multiply(plain(args.x), transposed(args.weight), args.x.columns(), args.y, !args.addend.empty(), 1.0F, args.bias);
}

void linear_backward_input(Stream& stream, const LinearBackwardInput& args) {
  if (is_multiplied_in_f32(args.dy.dtype())) return backward_input_in_f32(stream, args);
  multiply(plain(args.dy), plain(args.weight), args.dy.columns(), args.dx, args.accumulate);
}

void linear_backward_weight(Stream& stream, const LinearBackwardWeight& args) {
  // the library has no product of f32 that is added to bf16
  const bool mixed = args.dy.dtype() == DType::kF32 && args.d_weight.dtype() != DType::kF32;
  if (mixed || is_multiplied_in_f32(args.dy.dtype())) return backward_weight_in_f32(stream, args);
  multiply(transposed(args.dy), plain(args.x), args.dy.rows(), args.d_weight, args.accumulate, args.scale);
}

}  // namespace primus::ops::cpu
