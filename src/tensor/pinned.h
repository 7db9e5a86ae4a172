#pragma once

#include <cstddef>

#include "tensor/backend.h"

namespace primus {

/// Host memory that a device reads and writes at full speed, while it computes (Stream::copy_to_pinned).
class PinnedMemory {
 public:
  /// Throws Error (kHostLacks) when the host has not got the bytes.
  PinnedMemory(Device device, std::size_t bytes);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Device device_;
  std::size_t bytes_;
  std::byte* data_;
};

}  // namespace primus
