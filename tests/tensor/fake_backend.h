#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/backend.h"

/// A CPU back end that remembers what it was asked for: the tensor room is below the one that has the real one.
namespace primus::test {

struct FakeMemory {
  std::map<void*, std::size_t> allocated;
  std::vector<std::string> calls;
  std::size_t limit = std::size_t{1} << 30;
};

inline FakeMemory& fake() {
  static FakeMemory memory;
  return memory;
}

inline const Backend& fake_backend() {
  static const Backend backend = {
      .type = DeviceType::kCpu,
      .device_count = [] { return 1; },
      .describe = [](int) -> std::string { return "fake"; },
      .memory_total = [](int) { return fake().limit; },
      .memory_free = [](int) { return fake().limit; },
      .allocate = [](int, std::size_t bytes) -> void* {
        if (bytes > fake().limit) throw host_lacks("no {} bytes", bytes);
        void* data = std::aligned_alloc(256, bytes);
        fake().allocated[data] = bytes;
        return data;
      },
      .deallocate =
          [](int, void* data, std::size_t bytes) {
            PRIMUS_CHECK(fake().allocated[data] == bytes, fake().allocated[data], bytes);
            fake().allocated.erase(data);
            std::free(data);
          },
      .create_stream = [](int) -> void* {
        fake().calls.emplace_back("create stream");
        return &fake();
      },
      .destroy_stream = [](int, void*) { fake().calls.emplace_back("destroy stream"); },
      .synchronize = [](int, void*) { fake().calls.emplace_back("synchronize"); },
      .copy_to_device = [](int, void*, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); },
      .copy_to_host = [](int, void*, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); },
      .copy_on_device = [](int, void*, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); },
      .fill_zero = [](int, void*, void* to, std::size_t bytes) { std::memset(to, 0, bytes); },
      .allocate_pinned = [](int, std::size_t bytes) -> void* {
        fake().calls.push_back(fmt::format("pin {}", bytes));
        return std::malloc(bytes);
      },
      .deallocate_pinned =
          [](int, void* pinned, std::size_t bytes) {
            fake().calls.push_back(fmt::format("unpin {}", bytes));
            std::free(pinned);
          },
      .copy_to_pinned = [](int, void*, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); },
      .copy_from_pinned = [](int, void*, void* to, const void* from,
                             std::size_t bytes) { std::memcpy(to, from, bytes); },
      .create_event = [](int) -> void* {
        fake().calls.emplace_back("create event");
        return new int{0};
      },
      .destroy_event =
          [](int, void* event) {
            fake().calls.emplace_back("destroy event");
            delete static_cast<int*>(event);
          },
      .record_event = [](int, void*, void* event) { *static_cast<int*>(event) += 1; },
      .wait_event = [](int, void*, void*) { fake().calls.emplace_back("wait"); },
      .elapsed = [](int, void* from,
                    void* to) { return static_cast<double>(*static_cast<int*>(to) - *static_cast<int*>(from)); },
      .ops = nullptr};
  return backend;
}

}  // namespace primus::test
