#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/gpu/stream_state.h"

namespace primus::ops::gpu {

Staging::~Staging() {
  // nothing is checked: when the device is lost, an error was thrown already
  for (const Slot& slot : slots_) {
    if (slot.done != nullptr) gpuEventDestroy(slot.done);
    if (slot.data != nullptr) gpuFreeHost(slot.data);
  }
}

void Staging::make(Slot& slot) {
  if (slot.data != nullptr) return;
  void* data = nullptr;
  GPU_CHECK(gpuMallocHost(&data, kSlotBytes));
  slot.data = static_cast<std::byte*>(data);
  GPU_CHECK(gpuEventCreateWithFlags(&slot.done, gpuEventDisableTiming));
}

std::byte* Staging::take(std::size_t bytes) {
  constexpr std::size_t kAlignment = 256;
  PRIMUS_CHECK(bytes <= kSlotBytes, bytes);
  if (used_ + bytes > kSlotBytes) {
    Slot& full = slots_.at(current_);
    GPU_CHECK(gpuEventRecord(full.done, stream_));
    full.in_flight = true;
    current_ = (current_ + 1) % kSlots;
    used_ = 0;
  }
  Slot& slot = slots_.at(current_);
  make(slot);
  if (slot.in_flight) {
    GPU_CHECK(gpuEventSynchronize(slot.done));
    slot.in_flight = false;
  }
  std::byte* taken = slot.data + used_;
  used_ = std::min(kSlotBytes, (used_ + bytes + kAlignment - 1) / kAlignment * kAlignment);
  last_ = taken;
  return taken;
}

void Staging::wait_for_last() {
  const Slot& slot = slots_.at(current_);
  GPU_CHECK(gpuEventRecord(slot.done, stream_));
  GPU_CHECK(gpuEventSynchronize(slot.done));
}

}  // namespace primus::ops::gpu
