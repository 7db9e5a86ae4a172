#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/stream.h"

namespace primus::train {

/// Times every operation that is put on a stream while it watches.
class Profile : public StreamObserver {
 public:
  explicit Profile(Stream& stream);
  ~Profile() override;
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  void begin(WorkKind kind, const char* name) override;
  void end() override;

  struct Span {
    WorkKind kind;
    const char* name;
    double begin;  // seconds since the profile began
    double seconds;
  };
  /// Everything so far, in order; waits for the device.
  std::vector<Span> spans() const;

 private:
  struct Mark {
    WorkKind kind;
    const char* name;
    Event begin;
    Event end;
  };
  Stream& stream_;
  Event start_;
  std::vector<Mark> marks_;
};

/// "GEMM", "attention", "elementwise", "optimizer"
const char* name_of(WorkKind kind);

/// Seconds by kind.
std::array<double, kWorkKinds> seconds_by_kind(const std::vector<Profile::Span>& spans);

/// A trace that chrome://tracing and Perfetto open.
void write_chrome_trace(const std::filesystem::path& path, const std::vector<Profile::Span>& spans);

}  // namespace primus::train
