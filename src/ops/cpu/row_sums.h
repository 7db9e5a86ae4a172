#pragma once

#include <algorithm>
#include <cstring>

#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {

/// Rows whose sums are formed by one thread; the chunks are cut by the number of rows alone and added in order, so
/// that the result is the same for any number of threads.
constexpr Index kRowsOfChunk = 64;

/// target[j] += Σ over rows: `add_rows(sums, begin, end)` adds what rows [begin, end) contribute to `sums`, f32 with
/// target.columns() elements. An empty target: `add_rows` is called with null, for its other results.
template <typename AddRows>
void add_row_sums(const Tensor& target, Index rows, Index work_of_row, const AddRows& add_rows) {
  if (target.empty()) {
    parallel_ranges(rows, work_of_row, [&](Index begin, Index end) { add_rows(nullptr, begin, end); });
    return;
  }
  const Index columns = target.columns();
  const Index chunks = (rows + kRowsOfChunk - 1) / kRowsOfChunk;
  float* partial = scratch_floats(Scratch::kPartialSums, (chunks + 1) * columns);
  parallel_ranges(chunks, kRowsOfChunk * work_of_row, [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk) {
      float* sums = partial + chunk * columns;
      std::memset(sums, 0, static_cast<std::size_t>(columns) * sizeof(float));
      add_rows(sums, chunk * kRowsOfChunk, std::min(rows, (chunk + 1) * kRowsOfChunk));
    }
  });
  const ElementKernels& f32 = kernels_of(DType::kF32);
  for (Index chunk = 1; chunk < chunks; ++chunk) f32.add(partial, partial + chunk * columns, partial, columns);
  if (target.dtype() == DType::kF32) {
    f32.add(target.data(), partial, target.data(), columns);
    return;
  }
  float* before = partial + chunks * columns;
  const ElementKernels& typed = kernels_of(target.dtype());
  typed.load(target.data(), before, columns);
  f32.add(before, partial, before, columns);
  typed.store(before, target.data(), columns);
}

}  // namespace primus::ops::cpu
