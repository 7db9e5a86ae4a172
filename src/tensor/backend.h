#pragma once

#include <cstddef>
#include <string>

#include "tensor/device.h"

namespace primus {

namespace ops {
struct Table;
}

constexpr std::size_t kStageBytes = std::size_t{8} << 20;

/// Recordings of work on a stream, by a device that puts a recording on it faster than its single operations.
struct Recorder {
  /// What is put on the stream until end() is kept instead of run. False: not here (the user does without).
  bool (*begin)(int index, void* stream);
  /// nullptr when some of the work cannot be recorded.
  void* (*end)(int index, void* stream);
  void (*play)(int index, void* stream, void* recording);
  /// What the device took for the first play; 0 while that has not ended.
  double (*seconds_of_first_play)(int index, void* recording);
  void (*destroy)(int index, void* recording);
};

/// What a kind of device offers: memory, streams, events and its table of operations (ops/table.h). The CPU's is linked
/// in; those of GPUs are shared objects, loaded when a GPU is asked for.
/// All functions throw primus::Error (kHostLacks: no memory, no driver) or BugError.
struct Backend {
  DeviceType type;

  int (*device_count)();
  /// "Intel(R) Xeon(R) …, 2 cores, avx512_bf16", "NVIDIA H100 80GB HBM3"
  std::string (*describe)(int index);
  /// Bytes in all, and free now; the largest number when the system does not tell.
  std::size_t (*memory_total)(int index);
  std::size_t (*memory_free)(int index);

  /// Memory aligned to 256 bytes. Fresh memory is not cleared.
  void* (*allocate)(int index, std::size_t bytes);
  void (*deallocate)(int index, void* data, std::size_t bytes);

  /// Streams run what is put on them in order; on the CPU everything has happened when the call returns.
  void* (*create_stream)(int index);
  void (*destroy_stream)(int index, void* stream);
  void (*synchronize)(int index, void* stream);
  void (*copy_to_device)(int index, void* stream, void* target, const void* host, std::size_t bytes);
  void (*copy_to_host)(int index, void* stream, void* host, const void* source, std::size_t bytes);
  void (*copy_on_device)(int index, void* stream, void* target, const void* source, std::size_t bytes);
  void (*fill_zero)(int index, void* stream, void* target, std::size_t bytes);

  /// Host memory that the device reads at full speed: `bytes` (at most kStageBytes) to be filled and given to the next
  /// copy_to_device on the stream. nullptr where copies need none.
  void* (*stage)(int index, void* stream, std::size_t bytes);

  /// Host memory that the device itself reads and writes, and copies between the two that return at once: what they
  /// read must stay, and what they write is there, until the stream has come to them.
  void* (*allocate_pinned)(int index, std::size_t bytes);
  void (*deallocate_pinned)(int index, void* pinned, std::size_t bytes);
  void (*copy_to_pinned)(int index, void* stream, void* pinned, const void* source, std::size_t bytes);
  void (*copy_from_pinned)(int index, void* stream, void* target, const void* pinned, std::size_t bytes);

  /// Scratch that all operations on a stream share: how much they want, and where it is. A stream that was lent none
  /// takes its own when it first needs it.
  std::size_t (*workspace_bytes)(int index);
  void (*lend_workspace)(int index, void* stream, void* data, std::size_t bytes);

  /// Whether results on this stream may hang on nothing but their inputs. nullptr: they never do.
  void (*set_deterministic)(int index, void* stream, bool deterministic) = nullptr;

  const Recorder* recorder = nullptr;  // nullptr: none

  void* (*create_event)(int index);
  void (*destroy_event)(int index, void* event);
  void (*record_event)(int index, void* stream, void* event);
  void (*wait_event)(int index, void* stream, void* event);
  /// Seconds between two recorded events; waits for the second.
  double (*elapsed)(int index, void* from, void* to);

  const ops::Table* ops;
};

/// The back end of a device type. Throws Error (kHostLacks) naming the library that is missing and how to get it.
const Backend& backend(DeviceType type);

/// Called once by ops/cpu when the program starts.
void register_backend(const Backend& backend);

}  // namespace primus
