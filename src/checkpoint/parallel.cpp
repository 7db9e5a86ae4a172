#include "checkpoint/parallel.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

namespace primus::checkpoint {

void parallel_ranges(std::int64_t count, std::int64_t work, const std::function<void(std::int64_t, std::int64_t)>& body,
                     std::int64_t step) {
  constexpr std::int64_t kWorkPerThread = 1 << 19;  // some 100 µs: ten times what starting a thread costs
  constexpr std::int64_t kMostThreads = 32;
  const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  const std::int64_t steps = (count + step - 1) / step;
  const std::int64_t threads = std::min({cores, kMostThreads, work / kWorkPerThread, steps});
  if (threads <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(threads));
  const auto run = [&](std::int64_t thread) {
    const std::int64_t begin = steps * thread / threads * step;
    const std::int64_t end = std::min(count, steps * (thread + 1) / threads * step);
    try {
      if (begin < end) body(begin, end);
    } catch (...) {
      errors[static_cast<std::size_t>(thread)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::int64_t thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
    run(0);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace primus::checkpoint
