#include "tensor/backend.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/gpu/blas_lt.h"
#include "ops/gpu/device.h"
#include "ops/gpu/recorder.h"
#include "ops/gpu/stream_state.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

gpuStream_t open_stream(int index) {
  open_device(index);
  gpuStream_t stream = nullptr;
  GPU_CHECK(gpuStreamCreateWithFlags(&stream, gpuStreamNonBlocking));
  return stream;
}

}  // namespace

StreamState::StreamState(int index)
    : device(index), stream(open_stream(index)), limits(query_limits(index)), staging(stream) {}

StreamState::~StreamState() {
  // nothing is checked: when the device is lost, an error was thrown already
  gpuSetDevice(device);
  gpuStreamSynchronize(stream);
  if (own_workspace != nullptr) gpuFree(own_workspace);
  gpuStreamDestroy(stream);
}

gpuStream_t stream_of(const Stream& stream) {
  const StreamState& state = state_of(stream);
  GPU_CHECK(gpuSetDevice(state.device));
  return state.stream;
}

const DeviceLimits& limits_of(const Stream& stream) { return state_of(stream).limits; }

Workspace workspace_of(const Stream& stream) {
  StreamState& state = state_of(stream);
  if (state.workspace.data == nullptr) {
    GPU_CHECK(gpuSetDevice(state.device));
    GPU_CHECK(gpuMalloc(&state.own_workspace, kWorkspaceBytes));
    state.workspace = {state.own_workspace, kWorkspaceBytes};
  }
  return state.workspace;
}

namespace {

StreamState& enter(int index, void* handle) {
  GPU_CHECK(gpuSetDevice(index));
  return *static_cast<StreamState*>(handle);
}

gpuEvent_t event_of(void* handle) { return static_cast<gpuEvent_t>(handle); }

void* allocate(int index, std::size_t bytes) {
  open_device(index);
  void* data = nullptr;
  const gpuError_t error = gpuMalloc(&data, bytes);
  if (error == gpuErrorMemoryAllocation) {
    gpuGetLastError();
    throw host_lacks("GPU {} has not got {} bytes of memory ({} bytes are free): take a smaller batch or model", index,
                     bytes, memory_free(index));
  }
  check(error, "gpuMalloc");
  return data;
}

void deallocate(int index, void* data, std::size_t) {
  // nothing is checked: it is called from destructors, and a lost device has thrown already
  gpuSetDevice(index);
  gpuFree(data);
}

void* create_stream(int index) { return new StreamState(index); }
void destroy_stream(int, void* stream) { delete static_cast<StreamState*>(stream); }

void synchronize(int index, void* stream) { GPU_CHECK(gpuStreamSynchronize(enter(index, stream).stream)); }

void* stage(int index, void* stream, std::size_t bytes) { return enter(index, stream).staging.take(bytes); }

void copy_to_device(int index, void* stream, void* target, const void* host, std::size_t bytes) {
  StreamState& state = enter(index, stream);
  const auto put = [&](std::size_t offset, const void* staged, std::size_t count) {
    GPU_CHECK(
        gpuMemcpyAsync(static_cast<std::byte*>(target) + offset, staged, count, gpuMemcpyHostToDevice, state.stream));
  };
  if (state.staging.holds(host)) return put(0, host, bytes);
  for (std::size_t offset = 0; offset < bytes; offset += kStageBytes) {
    const std::size_t count = std::min(kStageBytes, bytes - offset);
    std::byte* staged = state.staging.take(count);
    std::memcpy(staged, static_cast<const std::byte*>(host) + offset, count);
    put(offset, staged, count);
  }
}

void copy_to_host(int index, void* stream, void* host, const void* source, std::size_t bytes) {
  StreamState& state = enter(index, stream);
  // the copy into `host` of one piece runs beside the device's copy of the next
  struct Piece {
    const std::byte* staged = nullptr;
    std::size_t offset = 0;
    std::size_t count = 0;
  } last;
  const auto finish = [&](const Piece& piece) {
    if (piece.count != 0) std::memcpy(static_cast<std::byte*>(host) + piece.offset, piece.staged, piece.count);
  };
  constexpr std::size_t kPiece = kStageBytes / 2;
  for (std::size_t offset = 0; offset < bytes; offset += kPiece) {
    Piece piece{.offset = offset, .count = std::min(kPiece, bytes - offset)};
    std::byte* staged = state.staging.take(piece.count);
    GPU_CHECK(gpuMemcpyAsync(staged, static_cast<const std::byte*>(source) + offset, piece.count, gpuMemcpyDeviceToHost,
                             state.stream));
    piece.staged = staged;
    finish(last);
    state.staging.wait_for_last();
    last = piece;
  }
  finish(last);
}

void* allocate_pinned(int index, std::size_t bytes) {
  open_device(index);
  void* pinned = nullptr;
  const gpuError_t error = gpuMallocHost(&pinned, bytes);
  if (error == gpuErrorMemoryAllocation) {
    gpuGetLastError();
    throw host_lacks("the host has not got {} bytes of memory that GPU {} can reach: take a smaller batch or model",
                     bytes, index);
  }
  check(error, "gpuMallocHost");
  return pinned;
}

void deallocate_pinned(int index, void* pinned, std::size_t) {
  // nothing is checked: it is called from destructors, and a lost device has thrown already
  gpuSetDevice(index);
  gpuFreeHost(pinned);
}

void copy_to_pinned(int index, void* stream, void* pinned, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  GPU_CHECK(gpuMemcpyAsync(pinned, source, bytes, gpuMemcpyDeviceToHost, enter(index, stream).stream));
}

void copy_from_pinned(int index, void* stream, void* target, const void* pinned, std::size_t bytes) {
  if (bytes == 0) return;
  GPU_CHECK(gpuMemcpyAsync(target, pinned, bytes, gpuMemcpyHostToDevice, enter(index, stream).stream));
}

void copy_on_device(int index, void* stream, void* target, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  GPU_CHECK(gpuMemcpyAsync(target, source, bytes, gpuMemcpyDeviceToDevice, enter(index, stream).stream));
}

void fill_zero(int index, void* stream, void* target, std::size_t bytes) {
  if (bytes == 0) return;
  GPU_CHECK(gpuMemsetAsync(target, 0, bytes, enter(index, stream).stream));
}

std::size_t workspace_bytes(int) { return kWorkspaceBytes; }

void lend_workspace(int index, void* stream, void* data, std::size_t bytes) {
  PRIMUS_CHECK(bytes >= kWorkspaceBytes, bytes, kWorkspaceBytes);
  StreamState& state = enter(index, stream);
  PRIMUS_CHECK(state.own_workspace == nullptr, "operations ran before the workspace was lent");
  state.workspace = {data, bytes};
}

void set_deterministic(int index, void* stream, bool deterministic) {
  StreamState& state = enter(index, stream);
  PRIMUS_CHECK(state.blas == nullptr, "products were chosen before the stream was told to be deterministic");
  state.deterministic = deterministic;
}

void* create_event(int index) {
  GPU_CHECK(gpuSetDevice(index));
  gpuEvent_t event = nullptr;
  GPU_CHECK(gpuEventCreate(&event));
  return event;
}

void destroy_event(int, void* event) { gpuEventDestroy(event_of(event)); }

void record_event(int index, void* stream, void* event) {
  GPU_CHECK(gpuEventRecord(event_of(event), enter(index, stream).stream));
}

void wait_event(int index, void* stream, void* event) {
  GPU_CHECK(gpuStreamWaitEvent(enter(index, stream).stream, event_of(event), 0));
}

double elapsed(int, void* from, void* to) {
  GPU_CHECK(gpuEventSynchronize(event_of(to)));
  float milliseconds = 0.0F;
  GPU_CHECK(gpuEventElapsedTime(&milliseconds, event_of(from), event_of(to)));
  return static_cast<double>(milliseconds) * 1e-3;
}

constexpr Backend kBackend = {
#if defined(PRIMUS_HIP)
    .type = DeviceType::kHip,
#else
    .type = DeviceType::kCuda,
#endif
    .device_count = device_count,
    .describe = describe,
    .memory_total = memory_total,
    .memory_free = memory_free,
    .allocate = allocate,
    .deallocate = deallocate,
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
    .synchronize = synchronize,
    .copy_to_device = copy_to_device,
    .copy_to_host = copy_to_host,
    .copy_on_device = copy_on_device,
    .fill_zero = fill_zero,
    .stage = stage,
    .allocate_pinned = allocate_pinned,
    .deallocate_pinned = deallocate_pinned,
    .copy_to_pinned = copy_to_pinned,
    .copy_from_pinned = copy_from_pinned,
    .workspace_bytes = workspace_bytes,
    .lend_workspace = lend_workspace,
    .set_deterministic = set_deterministic,
    .recorder = &kRecorder,
    .create_event = create_event,
    .destroy_event = destroy_event,
    .record_event = record_event,
    .wait_event = wait_event,
    .elapsed = elapsed,
    .ops = &kTable,
};

}  // namespace
}  // namespace primus::ops::gpu

/// What tensor/backend.cpp looks for.
extern "C" const primus::Backend* primus_backend() { return &primus::ops::gpu::kBackend; }
