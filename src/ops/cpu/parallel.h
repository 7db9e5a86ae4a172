#pragma once

#include <omp.h>

#include "ops/cpu/kernels.h"

/// Threads come from OpenMP, whose team oneDNN uses too. A fork and join costs a few microseconds, so small work stays
/// on the calling thread. Results never depend on the number of threads.
namespace primus::ops::cpu {

/// About 10 µs of element-wise work.
constexpr Index kSerialWork = 1 << 14;

/// body(begin, end) for disjoint ranges that cover [0, count); `work` is the number of elements behind one of them.
template <typename Body>
void parallel_ranges(Index count, Index work, const Body& body) {
  if (count * work <= kSerialWork || count <= 1 || omp_get_max_threads() == 1 || omp_in_parallel()) {
    if (count > 0) body(Index{0}, count);
    return;
  }
#pragma omp parallel
  {
    const Index threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const Index begin = count * thread / threads, end = count * (thread + 1) / threads;
    if (begin < end) body(begin, end);
  }
}

/// body(i) for i in [0, count), handed out one by one as threads become free; `work` elements in all.
template <typename Body>
void parallel_tasks(Index count, Index work, const Body& body) {
  if (work <= kSerialWork || count <= 1 || omp_get_max_threads() == 1 || omp_in_parallel()) {
    for (Index i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (Index i = 0; i < count; ++i) body(i);
}

}  // namespace primus::ops::cpu
