#include "train/profile.h"

#include <fmt/core.h>

#include "base/file.h"

namespace primus::train {

const char* name_of(WorkKind kind) {
  switch (kind) {
    case WorkKind::kGemm:
      return "GEMM";
    case WorkKind::kAttention:
      return "attention";
    case WorkKind::kElementwise:
      return "elementwise";
    case WorkKind::kOptimizer:
      return "optimizer";
  }
  return "?";
}

Profile::Profile(Stream& stream) : stream_(stream), start_(stream.device()) {
  start_.record(stream_);
  stream_.set_observer(this);
}

Profile::~Profile() { stream_.set_observer(nullptr); }

void Profile::begin(WorkKind kind, const char* name) {
  marks_.push_back({kind, name, Event(stream_.device()), Event(stream_.device())});
  marks_.back().begin.record(stream_);
}

void Profile::end() { marks_.back().end.record(stream_); }

std::vector<Profile::Span> Profile::spans() const {
  std::vector<Span> spans;
  spans.reserve(marks_.size());
  for (const Mark& mark : marks_) {
    spans.push_back({mark.kind, mark.name, start_.seconds_until(mark.begin), mark.begin.seconds_until(mark.end)});
  }
  return spans;
}

std::array<double, kWorkKinds> seconds_by_kind(const std::vector<Profile::Span>& spans) {
  std::array<double, kWorkKinds> seconds{};
  for (const Profile::Span& span : spans) seconds.at(static_cast<std::size_t>(span.kind)) += span.seconds;
  return seconds;
}

void write_chrome_trace(const std::filesystem::path& path, const std::vector<Profile::Span>& spans) {
  AtomicFile file(path);
  file.write("{\"traceEvents\":[\n");
  bool first = true;
  for (const Profile::Span& span : spans) {
    file.write(fmt::format(
        "{}{{\"ph\":\"X\",\"pid\":0,\"tid\":0,\"cat\":\"{}\",\"name\":\"{}\",\"ts\":{:.3f},\"dur\":{:.3f}}}",
        first ? "" : ",\n", name_of(span.kind), span.name, span.begin * 1e6, span.seconds * 1e6));
    first = false;
  }
  file.write("\n]}\n");
  file.finish();
}

}  // namespace primus::train
