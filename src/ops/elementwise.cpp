#include "ops/elementwise.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {

void convert(Stream& stream, const Convert& args) {
  const auto& [in, out, scale] = args;
  check_on_device(stream, in, out);
  PRIMUS_CHECK(is_compute_type(in.dtype()) && is_compute_type(out.dtype()), in.describe(), out.describe());
  PRIMUS_CHECK(in.rank() == out.rank() && in.rows() == out.rows() && in.columns() == out.columns(), in.describe(),
               out.describe());
  if (in.numel() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "convert");
  stream.backend().ops->convert(stream, args);
}

void dropout(Stream& stream, const Dropout& args) {
  check_on_device(stream, args.x, args.out);
  check_compute_matrix(args.x);
  check_matrix(args.out, args.x.rows(), args.x.columns(), args.x.dtype());
  PRIMUS_CHECK(args.probability >= 0.0F && args.probability < 1.0F, args.probability);
  if (args.x.numel() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "dropout");
  stream.backend().ops->dropout(stream, args);
}

}  // namespace primus::ops
