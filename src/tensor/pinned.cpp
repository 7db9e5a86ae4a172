#include "tensor/pinned.h"

namespace primus {

PinnedMemory::PinnedMemory(Device device, std::size_t bytes)
    : device_(device),
      bytes_(bytes),
      data_(static_cast<std::byte*>(backend(device.type).allocate_pinned(device.index, bytes))) {}

PinnedMemory::~PinnedMemory() { backend(device_.type).deallocate_pinned(device_.index, data_, bytes_); }

}  // namespace primus
