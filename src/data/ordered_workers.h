#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace primus::data {

/// Threads that turn pieces of work into results; the thread that pushes the work gets the results back in its order.
/// At most a few pieces a thread are on their way.
template <typename Work, typename Result>
class OrderedWorkers {
 public:
  /// `work` runs in the threads, `take` in the thread that calls push and finish. Fewer threads do when the host allows
  /// no more; with none at all it throws Error (kHostLacks).
  OrderedWorkers(int threads, std::function<Result(Work)> work, std::function<void(Result)> take)
      : work_(std::move(work)), take_(std::move(take)) {
    try {
      for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
    } catch (const std::system_error& error) {
      if (threads_.empty()) throw host_lacks("cannot start a thread: {}", error.what());
    }
    most_waiting_ = threads_.size() * 4;
  }
  /// Drops work that has not begun.
  ~OrderedWorkers() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  OrderedWorkers(const OrderedWorkers&) = delete;
  OrderedWorkers& operator=(const OrderedWorkers&) = delete;

  /// Throws what the earliest piece of work threw whose turn it is; after that there is nothing to do any more.
  void push(Work work) {
    {
      const std::lock_guard lock(mutex_);
      if (failed_) return;
      slots_.push_back(std::make_shared<Slot>(std::move(work)));
      not_begun_.push_back(slots_.back());
    }
    changed_.notify_all();
    drain(most_waiting_);
  }
  /// Waits for all results. Throws as push does.
  void finish() { drain(0); }

 private:
  struct Slot {
    explicit Slot(Work given) : work(std::move(given)) {}
    Work work;
    std::optional<Result> result;
    std::exception_ptr error;
    bool done = false;
  };

  void run() {
    while (true) {
      std::shared_ptr<Slot> slot;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopped_ || !not_begun_.empty(); });
        if (stopped_) return;
        slot = std::move(not_begun_.front());
        not_begun_.pop_front();
      }
      try {
        slot->result = work_(std::move(slot->work));
      } catch (...) {
        slot->error = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex_);
        slot->done = true;
      }
      changed_.notify_all();
    }
  }

  /// Hands over results while more than `allowed` pieces wait, and those that are ready anyway.
  void drain(std::size_t allowed) {
    while (true) {
      std::shared_ptr<Slot> slot;
      {
        std::unique_lock lock(mutex_);
        if (slots_.empty() || (slots_.size() <= allowed && !slots_.front()->done)) return;
        changed_.wait(lock, [this] { return slots_.front()->done; });
        slot = std::move(slots_.front());
        slots_.pop_front();
      }
      if (slot->error) {
        fail();
        std::rethrow_exception(slot->error);
      }
      take_(std::move(*slot->result));
    }
  }

  void fail() {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    slots_.clear();
    not_begun_.clear();
  }

  std::function<Result(Work)> work_;
  std::function<void(Result)> take_;
  std::size_t most_waiting_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Slot>> slots_;      // in order, their result not yet taken
  std::deque<std::shared_ptr<Slot>> not_begun_;  // of these
  bool stopped_ = false;
  bool failed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace primus::data
