#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "ops/gpu/runtime.h"

namespace primus::ops::gpu {

class BlasLt;

/// Pinned host memory that copies between host and device pass through, so that the device reads it at full speed while
/// the host fills the next piece. Slots are taken in turn; one is used again when the copies out of it are done.
class Staging {
 public:
  static constexpr std::size_t kSlotBytes = kStageBytes;

  explicit Staging(gpuStream_t stream) : stream_(stream) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// `bytes` (at most kSlotBytes) of pinned memory. The caller fills them and puts the copy on the stream before it
  /// asks for the next.
  std::byte* take(std::size_t bytes);
  /// Whether take() gave this address last.
  bool holds(const void* host) const { return host == last_; }
  /// Waits until the slot of the last take() has arrived, counted from all work now on the stream.
  void wait_for_last();

 private:
  static constexpr std::size_t kSlots = 4;
  struct Slot {
    std::byte* data = nullptr;
    gpuEvent_t done = nullptr;
    bool in_flight = false;
  };
  void make(Slot& slot);

  gpuStream_t stream_;
  std::array<Slot, kSlots> slots_{};
  std::size_t current_ = 0;
  std::size_t used_ = 0;  // bytes of the current slot
  const std::byte* last_ = nullptr;
};

/// What stands behind Stream::handle().
struct StreamState {
  explicit StreamState(int index);
  ~StreamState();
  StreamState(const StreamState&) = delete;
  StreamState& operator=(const StreamState&) = delete;

  int device;
  gpuStream_t stream;
  DeviceLimits limits;
  Staging staging;
  bool deterministic = false;  // see Stream::set_deterministic
  Workspace workspace;
  void* own_workspace = nullptr;  // taken when nobody lent one
  std::unique_ptr<BlasLt> blas;   // made with the first product
};

inline StreamState& state_of(const Stream& stream) { return *static_cast<StreamState*>(stream.handle()); }

}  // namespace primus::ops::gpu
