#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/row_sums.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {
namespace {

RopeArgs forward_of(const RopeForward& args, const Tensor& x, const Tensor& out, const Tensor& weight,
                    Index first_head) {
  return {.x = rows_of(x),
          .out = rows_of(out),
          .heads = x.columns() / args.head_dim,
          .head_dim = args.head_dim,
          .weight = weight.data(),
          .eps = args.eps,
          .positions = args.positions.as<std::int32_t>(),
          .cos = args.cos.as<float>(),
          .sin = args.sin.as<float>(),
          .angle_stride = args.cos.row_stride(),
          .rstd = args.rstd ? args.rstd.as<float>() + first_head : nullptr,
          .rstd_stride = args.rstd.row_stride()};
}

RopeBackwardArgs backward_of(const RopeBackward& args, const Tensor& d_out, const Tensor& x, const Tensor& dx,
                             const Tensor& weight, Index first_head) {
  return {.d_out = rows_of(d_out),
          .x = rows_of(x),
          .dx = rows_of(dx),
          .heads = d_out.columns() / args.head_dim,
          .head_dim = args.head_dim,
          .weight = weight.data(),
          .positions = args.positions.as<std::int32_t>(),
          .cos = args.cos.as<float>(),
          .sin = args.sin.as<float>(),
          .angle_stride = args.cos.row_stride(),
          .rstd = args.rstd ? args.rstd.as<float>() + first_head : nullptr,
          .rstd_stride = args.rstd.row_stride()};
}

}  // namespace

void rope_forward(Stream&, const RopeForward& args) {
  const ElementKernels& table = kernels_of(args.q.dtype());
  const RopeArgs q = forward_of(args, args.q, args.q_out, args.q_weight, 0);
  const RopeArgs k = forward_of(args, args.k, args.k_out, args.k_weight, q.heads);
  parallel_ranges(args.q.rows(), args.q.columns() + args.k.columns(), [&](Index begin, Index end) {
    table.rope(q, begin, end);
    table.rope(k, begin, end);
  });
}

void rope_backward(Stream&, const RopeBackward& args) {
  PRIMUS_CHECK(args.d_q_sums.empty(), args.d_q_sums.describe());  // attention returns none here
  const ElementKernels& table = kernels_of(args.d_q_out.dtype());
  const RopeBackwardArgs q = backward_of(args, args.d_q_out, args.q, args.d_q, args.q_weight, 0);
  const RopeBackwardArgs k = backward_of(args, args.d_k_out, args.k, args.d_k, args.k_weight, q.heads);
  const Index rows = args.d_q_out.rows();
  add_row_sums(args.d_q_weight, rows, args.d_q_out.columns(),
               [&](float* sums, Index begin, Index end) { table.rope_backward(q, sums, begin, end); });
  add_row_sums(args.d_k_weight, rows, args.d_k_out.columns(),
               [&](float* sums, Index begin, Index end) { table.rope_backward(k, sums, begin, end); });
}

}  // namespace primus::ops::cpu
