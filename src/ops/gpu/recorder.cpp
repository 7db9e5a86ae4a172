#include "ops/gpu/recorder.h"

#include <cstdlib>
#include <memory>
#include <string_view>

#include "ops/gpu/stream_state.h"

namespace primus::ops::gpu {
namespace {

struct Recording {
  Recording() {
    GPU_CHECK(gpuEventCreate(&begin));
    GPU_CHECK(gpuEventCreate(&end));
  }
  ~Recording() {
    // nothing is checked: when the device is lost, an error was thrown already
    if (graph != nullptr) gpuGraphExecDestroy(graph);
    if (begin != nullptr) gpuEventDestroy(begin);
    if (end != nullptr) gpuEventDestroy(end);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  gpuGraphExec_t graph = nullptr;
  gpuEvent_t begin = nullptr, end = nullptr;  // around the first play
  bool was_played = false;
};

Recording& recording_of(void* recording) { return *static_cast<Recording*>(recording); }

StreamState& enter(int index, void* stream) {
  GPU_CHECK(gpuSetDevice(index));
  return *static_cast<StreamState*>(stream);
}

bool is_wanted() {
  const char* value = std::getenv("PRIMUS_CUDA_GRAPHS");
  return (value == nullptr || std::string_view(value) != "off") && !waits_for_every_launch();
}

bool begin(int index, void* stream) {
  if (!is_wanted()) return false;
  GPU_CHECK(gpuStreamBeginCapture(enter(index, stream).stream, gpuStreamCaptureModeThreadLocal));
  return true;
}

void* end(int index, void* stream) {
  const StreamState& state = enter(index, stream);
  gpuGraph_t graph = nullptr;
  const bool is_recorded = gpuStreamEndCapture(state.stream, &graph) == gpuSuccess && graph != nullptr;
  auto recording = std::make_unique<Recording>();
  const bool is_usable = is_recorded && gpuGraphInstantiateWithFlags(&recording->graph, graph, 0) == gpuSuccess;
  if (graph != nullptr) gpuGraphDestroy(graph);
  if (!is_usable) {
    gpuGetLastError();  // what cannot be recorded is run: the next check must not find this
    recording->graph = nullptr;
    return nullptr;
  }
  GPU_CHECK(gpuGraphUpload(recording->graph, state.stream));
  return recording.release();
}

void play(int index, void* stream, void* played) {
  Recording& recording = recording_of(played);
  gpuStream_t on = enter(index, stream).stream;
  if (!recording.was_played) GPU_CHECK(gpuEventRecord(recording.begin, on));
  GPU_CHECK(gpuGraphLaunch(recording.graph, on));
  if (!recording.was_played) GPU_CHECK(gpuEventRecord(recording.end, on));
  recording.was_played = true;
}

double seconds_of_first_play(int, void* played) {
  const Recording& recording = recording_of(played);
  const gpuError_t state = gpuEventQuery(recording.end);
  if (!recording.was_played || state == gpuErrorNotReady) return 0.0;
  check(state, "gpuEventQuery");
  float milliseconds = 0.0F;
  GPU_CHECK(gpuEventElapsedTime(&milliseconds, recording.begin, recording.end));
  return static_cast<double>(milliseconds) * 1e-3;
}

void destroy(int index, void* recording) {
  gpuSetDevice(index);
  delete static_cast<Recording*>(recording);
}

}  // namespace

const Recorder kRecorder = {
    .begin = begin, .end = end, .play = play, .seconds_of_first_play = seconds_of_first_play, .destroy = destroy};

}  // namespace primus::ops::gpu
