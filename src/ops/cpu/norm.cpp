#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/row_sums.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {

void rms_norm_forward(Stream&, const RmsNormForward& args) {
  const ElementKernels& table = kernels_of(args.x.dtype());
  const RmsNormArgs rows = {.x = rows_of(args.x),
                            .weight = args.weight.data(),
                            .y = rows_of(args.y),
                            .rstd = args.rstd ? args.rstd.as<float>() : nullptr,
                            .columns = args.x.columns(),
                            .eps = args.eps};
  parallel_ranges(args.x.rows(), args.x.columns(), [&](Index begin, Index end) { table.rms_norm(rows, begin, end); });
}

void rms_norm_backward(Stream&, const RmsNormBackward& args) {
  const ElementKernels& table = kernels_of(args.x.dtype());
  const RmsNormBackwardArgs rows = {.dy = rows_of(args.dy),
                                    .x = rows_of(args.x),
                                    .weight = args.weight.data(),
                                    .rstd = args.rstd.as<float>(),
                                    .d_residual = rows_of(args.d_residual),
                                    .dx = rows_of(args.dx),
                                    .columns = args.x.columns()};
  add_row_sums(args.d_weight, args.x.rows(), args.x.columns(),
               [&](float* sums, Index begin, Index end) { table.rms_norm_backward(rows, sums, begin, end); });
}

void add(Stream&, const Add& args) {
  const ElementKernels& table = kernels_of(args.x.dtype());
  parallel_ranges(args.x.rows(), args.x.columns(), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      table.add(row_at(args.x, t), row_at(args.delta, t), row_at(args.sum, t), args.x.columns());
    }
  });
}

void bias_backward(Stream&, const BiasBackward& args) {
  const ElementKernels& table = kernels_of(args.dy.dtype());
  add_row_sums(args.d_bias, args.dy.rows(), args.dy.columns(), [&](float* sums, Index begin, Index end) {
    table.column_sums(rows_of(args.dy), args.dy.columns(), sums, begin, end);
  });
}

}  // namespace primus::ops::cpu
