#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "monitor/append_file.h"
#include "monitor/metrics.h"

namespace primus::monitor {

/// One number on a TensorBoard chart.
struct Scalar {
  std::string_view tag;
  float value = 0.0F;
};

/// An event file as TensorBoard reads it: TFRecord frames (length, masked CRC-32C of it, bytes, masked CRC-32C of them)
/// around hand-encoded `tensorflow.Event` messages (tensorflow/core/util/event.proto, version brain.Event:2).
class EventFile {
 public:
  /// Makes `directory` and in it a new file events.out.tfevents.<seconds>.<host>. With `resumed_iteration` > 0
  /// TensorBoard is told to forget what earlier files of the directory say of later iterations. Throws Error
  /// (kHostLacks) when that fails. For failures later on see AppendFile.
  EventFile(const std::filesystem::path& directory, std::int64_t resumed_iteration);

  void write(const StepMetrics& step);
  void write(const ValidationMetrics& validation);

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  AppendFile file_;
};

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as iSCSI and TFRecord use it.
std::uint32_t crc32c(std::string_view bytes);

/// The bytes of one framed record.
std::string tfrecord(std::string_view payload);

/// Serialised tensorflow.Event messages. `wall_time` in seconds since 1970.
std::string version_event(double wall_time);
std::string restart_event(double wall_time, std::int64_t first_step);
std::string scalars_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

}  // namespace primus::monitor
