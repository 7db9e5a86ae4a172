#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/backend.h"
#include "tensor/tensor.h"

namespace primus {

/// What an operation is, for profiles.
enum class WorkKind : std::uint8_t { kGemm, kAttention, kElementwise, kOptimizer };
constexpr int kWorkKinds = 4;

/// Told of every operation that is put on a stream. `name` is a literal.
class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  virtual void begin(WorkKind kind, const char* name) = 0;
  virtual void end() = 0;
};

/// Work on one device, in order. Owns the back end's stream; movable, not copyable.
class Stream {
 public:
  explicit Stream(Device device);
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  const Backend& backend() const { return *backend_; }
  void* handle() const { return handle_; }

  /// nullptr (the default): nobody watches.
  StreamObserver* observer() const { return observer_; }
  void set_observer(StreamObserver* observer) { observer_ = observer; }

  /// Host waits until all work put on the stream is done.
  void synchronize();

  /// Operations on this stream use `workspace` (u8, workspace_bytes()) as scratch, for as long as the stream lives.
  void lend_workspace(const Tensor& workspace);

  /// Operations on this stream give the same bits in every process, though it cost speed: what they do hangs on their
  /// inputs alone, not on what was measured. Before the first operation.
  void set_deterministic(bool deterministic);

  /// Host memory (at most kStageBytes) that copies to the device at full speed: fill it and give it to the next
  /// copy_to_device. nullptr where any host memory is as good.
  std::byte* stage(std::size_t bytes);
  /// Copies `target.bytes()` from host memory; the host memory may be reused when the call returns. Contiguous only.
  void copy_to_device(const Tensor& target, const void* host);
  /// Copies to host memory and waits for it. Contiguous only.
  void copy_to_host(void* host, const Tensor& source);
  /// To and from memory of a PinnedMemory of the same device, in order with the stream's other work: the host waits for
  /// nothing. Contiguous only.
  void copy_to_pinned(std::byte* pinned, const Tensor& source);
  void copy_from_pinned(const Tensor& target, const std::byte* pinned);
  void copy(const Tensor& target, const Tensor& source);
  void fill_zero(const Tensor& target);

 private:
  Device device_;
  const Backend* backend_ = nullptr;
  void* handle_ = nullptr;
  StreamObserver* observer_ = nullptr;
};

/// Bytes of scratch that the operations on one stream of the device share; 0 where they need none.
std::size_t workspace_bytes(Device device);

/// Tells the stream's observer, if there is one, of the operation that is put on it while this lives.
class Observed {
 public:
  Observed(Stream& stream, WorkKind kind, const char* name) : observer_(stream.observer()) {
    if (observer_ != nullptr) observer_->begin(kind, name);
  }
  ~Observed() {
    if (observer_ != nullptr) observer_->end();
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

 private:
  StreamObserver* observer_;
};

/// A point in a stream's work; times between points.
class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(Event&& other) noexcept;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  Event& operator=(Event&&) = delete;

  void record(Stream& stream);
  /// `stream` goes on only when this event has happened.
  void wait_on(Stream& stream);
  /// Seconds from this event to a later one; waits for it.
  double seconds_until(const Event& later) const;

 private:
  Device device_;
  const Backend* backend_;
  void* handle_;
};

}  // namespace primus
