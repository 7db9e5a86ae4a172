#include "tensor/replay.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/log.h"

namespace primus {
namespace {

/// A device that takes so many times as long as the host is never kept waiting, though launching costs more than
/// recording does: by a factor of about two.
constexpr double kFarAhead = 6.0;
constexpr std::size_t kMostForms = 4096;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

void Replay::run(Stream& stream, const Form& form, const std::function<void()>& body) {
  // an observer wants to see every operation
  if (stream.backend().recorder == nullptr || stream.observer() != nullptr) return body();
  use(stream);
  if (passes_.size() > kMostForms) forget();
  const auto [at, is_new] = passes_.try_emplace(form);
  Pass& pass = at->second;
  pass.last_use = ++uses_;
  if (!is_new && !pass.runs && pass.recording == nullptr) record(pass, body);
  if (pass.recording == nullptr) {
    // as it is: the first of its form, or one that is not recorded; what record() tried has not run
    return body();
  }
  recorder_->play(device_, stream_, pass.recording);
  if (!pass.is_judged) judge(pass);
}

void Replay::use(const Stream& stream) {
  if (stream_ == stream.handle()) return;
  forget();
  stream_ = stream.handle();
  device_ = stream.device().index;
  recorder_ = stream.backend().recorder;
}

void Replay::record(Pass& pass, const std::function<void()>& body) {
  make_room();
  pass.runs = true;
  if (!recorder_->begin(device_, stream_)) return;
  const double begin = now();
  bool is_whole = false;
  try {
    body();
    is_whole = true;
  } catch (const DeviceError& error) {
    log::debug("not recorded: {}", error.what());
  } catch (...) {
    if (void* part = recorder_->end(device_, stream_); part != nullptr) recorder_->destroy(device_, part);
    throw;
  }
  pass.host_seconds = now() - begin;
  pass.recording = recorder_->end(device_, stream_);
  if (!is_whole) drop(pass);
  pass.runs = pass.recording == nullptr;
}

void Replay::judge(Pass& pass) {
  const double device_seconds = recorder_->seconds_of_first_play(device_, pass.recording);
  if (device_seconds == 0.0) return;
  pass.is_judged = true;
  pass.runs = device_seconds > kFarAhead * pass.host_seconds;
  log::debug("a pass takes the device {:.2f} ms, and the host {:.2f} ms to record: {}", device_seconds * 1e3,
             pass.host_seconds * 1e3, pass.runs ? "runs" : "replayed");
  if (pass.runs) return drop(pass);
  if (has_told_) return;
  has_told_ = true;
  log::info(
      "passes of {:.1f} ms are recorded and replayed: the host takes {:.1f} ms to put their operations on the stream",
      device_seconds * 1e3, pass.host_seconds * 1e3);
}

void Replay::make_room() {
  if (recordings() < kMostRecordings) return;
  const auto is_older = [](const auto& a, const auto& b) {
    if ((a.second.recording != nullptr) != (b.second.recording != nullptr)) return a.second.recording != nullptr;
    return a.second.last_use < b.second.last_use;
  };
  const auto oldest = std::min_element(passes_.begin(), passes_.end(), is_older);
  drop(oldest->second);
  passes_.erase(oldest);
}

void Replay::drop(Pass& pass) {
  if (pass.recording != nullptr) recorder_->destroy(device_, pass.recording);
  pass.recording = nullptr;
}

void Replay::forget() {
  for (auto& [form, pass] : passes_) drop(pass);
  passes_.clear();
}

std::size_t Replay::recordings() const {
  return static_cast<std::size_t>(std::count_if(passes_.begin(), passes_.end(),
                                                [](const auto& entry) { return entry.second.recording != nullptr; }));
}

}  // namespace primus
