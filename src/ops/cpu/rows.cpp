#include <algorithm>
#include <cstring>

#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

/// Operations that move whole rows: embedding, gather, scatter.
namespace primus::ops::cpu {
namespace {

std::size_t bytes_of_row(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.columns()) * size_of(tensor.dtype());
}

/// out[i] = x[index[i]]
void copy_rows(const Tensor& x, const Tensor& index, const Tensor& out) {
  const std::int32_t* rows = index.as<std::int32_t>();
  const std::size_t bytes = bytes_of_row(out);
  parallel_ranges(out.rows(), out.columns(), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) std::memcpy(row_at(out, i), row_at(x, rows[i]), bytes);
  });
}

}  // namespace

void embedding_forward(Stream&, const EmbeddingForward& args) { copy_rows(args.table, args.ids, args.out); }

void gather_rows(Stream&, const GatherRows& args) { copy_rows(args.x, args.index, args.out); }

void scatter_rows(Stream&, const ScatterRows& args) {
  const std::int32_t* index = args.index.as<std::int32_t>();
  const Index count = args.index.columns();
  const std::size_t bytes = bytes_of_row(args.out);
  parallel_ranges(args.out.rows(), args.out.columns(), [&](Index begin, Index end) {
    Index next = std::lower_bound(index, index + count, static_cast<std::int32_t>(begin)) - index;
    for (Index t = begin; t < end; ++t) {
      if (next < count && index[next] == t) {
        std::memcpy(row_at(args.out, t), row_at(args.x, next), bytes);
        ++next;
      } else {
        std::memset(row_at(args.out, t), 0, bytes);
      }
    }
  });
}

void embedding_backward(Stream&, const EmbeddingBackward& args) {
  const Tensor& d_out = args.d_out;
  const Tensor& d_table = args.d_table;
  const std::int32_t* rows = args.ids.as<std::int32_t>();
  const ElementKernels& from = kernels_of(d_out.dtype());
  const ElementKernels& to = kernels_of(d_table.dtype());
  const bool same_type = d_out.dtype() == d_table.dtype();
  // Threads share the columns, not the tokens: each element is summed by one thread, in the order of t.
  constexpr Index kColumns = 64;
  const Index pieces = (d_out.columns() + kColumns - 1) / kColumns;
  parallel_ranges(pieces, kColumns * d_out.rows(), [&](Index begin, Index end) {
    const Index first = begin * kColumns, columns = std::min(d_out.columns(), end * kColumns) - first;
    float gradient[kColumns], sum[kColumns];
    for (Index t = 0; t < d_out.rows(); ++t) {
      for (Index j = first; j < first + columns; j += kColumns) {
        const Index size = std::min(kColumns, first + columns - j);
        const void* source = element_at(row_at(d_out, t), d_out.dtype(), j);
        void* target = element_at(row_at(d_table, rows[t]), d_table.dtype(), j);
        if (same_type) {
          to.add(target, source, target, size);
          continue;
        }
        from.load(source, gradient, size);
        to.load(target, sum, size);
        kernels_of(DType::kF32).add(sum, gradient, sum, size);
        to.store(sum, target, size);
      }
    }
  });
}

}  // namespace primus::ops::cpu
