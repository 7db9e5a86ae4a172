#include "ops/embedding.h"

#include "ops/check.h"
#include "ops/table.h"

namespace primus::ops {

void embedding_forward(Stream& stream, const EmbeddingForward& args) {
  const auto& [ids, table, out] = args;
  check_on_device(stream, ids, table, out);
  check_compute_matrix(table);
  check_vector(ids, ids.columns(), DType::kI32);
  check_matrix(out, ids.columns(), table.columns(), table.dtype());
  if (out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "embedding_forward");
  stream.backend().ops->embedding_forward(stream, args);
}

void embedding_backward(Stream& stream, const EmbeddingBackward& args) {
  const auto& [ids, d_out, d_table] = args;
  check_on_device(stream, ids, d_out, d_table);
  check_compute_matrix(d_out);
  check_vector(ids, d_out.rows(), DType::kI32);
  check_matrix(d_table, d_table.rows(), d_out.columns(), d_table.dtype());
  PRIMUS_CHECK(is_state_type(d_table.dtype()), d_table.describe());
  if (d_out.rows() == 0) return;
  const Observed observed(stream, WorkKind::kElementwise, "embedding_backward");
  stream.backend().ops->embedding_backward(stream, args);
}

}  // namespace primus::ops
