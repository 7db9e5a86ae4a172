#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "tensor/stream.h"

namespace primus {

/// Work that a run puts on a stream again and again in a few forms. Where the device is done with it about as fast as
/// the host can put it there, operation by operation, it is recorded and put there at once (CUDA graphs); the results
/// are the same bits. A form's first pass runs as it is, for operations choose what they do when they first see a
/// shape; its second one is recorded and timed on both sides, without waiting. Devices that do not record run
/// everything.
class Replay {
 public:
  /// All that the work depends on, but the content of device memory: sizes, flags, addresses that change.
  using Form = std::vector<std::int64_t>;

  /// So many recordings at a time, the last used ones: each takes memory beside the arena, about a kilobyte an
  /// operation.
  static constexpr std::size_t kMostRecordings = 16;

  Replay() = default;
  ~Replay() { forget(); }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  /// Puts on the stream what body() puts there. `body` must not let the host wait, nor copy from or to host memory that
  /// is not pinned; work that it puts on other streams must begin behind an event of this one and be waited for on it.
  void run(Stream& stream, const Form& form, const std::function<void()>& body);

  /// Recordings that are in use.
  std::size_t recordings() const;

 private:
  struct Pass {
    bool runs = false;  // it is not worth recording, or cannot be
    void* recording = nullptr;
    double host_seconds = 0.0;  // to put the work on the stream
    bool is_judged = false;
    std::uint64_t last_use = 0;
  };

  void use(const Stream& stream);
  void record(Pass& pass, const std::function<void()>& body);
  void judge(Pass& pass);
  void make_room();
  void drop(Pass& pass);
  void forget();

  void* stream_ = nullptr;  // whose work the recordings are
  int device_ = 0;
  const Recorder* recorder_ = nullptr;
  std::map<Form, Pass> passes_;
  std::uint64_t uses_ = 0;
  bool has_told_ = false;
};

}  // namespace primus
