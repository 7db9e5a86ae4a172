#include "ops/adamw.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {

void adamw(Stream& stream, const AdamW& args) {
  check_on_device(stream, args.grads, args.master, args.exp_avg, args.exp_avg_sq, args.weights, args.state);
  const std::int64_t size = args.grads.numel();
  for (const Tensor& tensor : {args.grads, args.master, args.exp_avg, args.exp_avg_sq}) {
    PRIMUS_CHECK(tensor.rank() == 1 && tensor.numel() == size && is_state_type(tensor.dtype()), tensor.describe(),
                 size);
  }
  if (args.weights) {
    PRIMUS_CHECK(args.weights.numel() == size && is_compute_type(args.weights.dtype()), args.weights.describe(), size);
    PRIMUS_CHECK(args.weights.is_contiguous(), args.weights.describe(), args.weights.row_stride());
  }
  check_vector(args.state, sizeof(StepState), DType::kU8);
  if (size == 0) return;
  const Observed observed(stream, WorkKind::kOptimizer, "adamw");
  stream.backend().ops->adamw(stream, args);
}

}  // namespace primus::ops
