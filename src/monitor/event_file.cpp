#include "monitor/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <climits>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace primus::monitor {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

/// TFRecord rotates and shifts its checksums, because a CRC of data that holds its own CRC is a constant.
std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8U; }

template <typename Integer>
void put_little_endian(std::string& out, Integer value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}

// Protocol buffers wire format: a key (field number and wire type), then the value.
enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7F) | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, unsigned field, Wire wire) {
  put_varint(out, (field << 3) | static_cast<unsigned>(wire));
}

void put_integer(std::string& out, unsigned field, std::int64_t value) {
  put_key(out, field, Wire::kVarint);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_key(out, field, Wire::kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_at(double wall_time) {
  std::string event;
  put_key(event, 1, Wire::kFixed64);  // Event.wall_time
  put_little_endian(event, std::bit_cast<std::uint64_t>(wall_time));
  return event;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

/// A name that is free in `directory`: a run that is resumed within the second gets a number behind.
fs::path free_name(const fs::path& directory, double wall_time) {
  make_directories(directory);
  const std::string name =
      fmt::format("events.out.tfevents.{:010d}.{}", static_cast<std::int64_t>(wall_time), host_name());
  fs::path path = directory / name;
  std::error_code code;
  for (int number = 1; fs::exists(path, code); ++number) path = directory / fmt::format("{}.{}", name, number);
  return path;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU];
  return ~crc;
}

std::string tfrecord(std::string_view payload) {
  std::string record;
  put_little_endian(record, static_cast<std::uint64_t>(payload.size()));
  put_little_endian(record, masked(crc32c(record)));
  record += payload;
  put_little_endian(record, masked(crc32c(payload)));
  return record;
}

std::string version_event(double wall_time) {
  std::string event = event_at(wall_time);
  put_bytes(event, 3, "brain.Event:2");  // Event.file_version
  return event;
}

std::string restart_event(double wall_time, std::int64_t first_step) {
  std::string session_log;
  put_integer(session_log, 1, 1);  // SessionLog.status = START
  std::string event = event_at(wall_time);
  put_integer(event, 2, first_step);  // Event.step
  put_bytes(event, 7, session_log);   // Event.session_log
  return event;
}

std::string scalars_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    std::string value;
    put_bytes(value, 1, scalar.tag);    // Summary.Value.tag
    put_key(value, 2, Wire::kFixed32);  // Summary.Value.simple_value
    put_little_endian(value, std::bit_cast<std::uint32_t>(scalar.value));
    put_bytes(summary, 1, value);  // Summary.value
  }
  std::string event = event_at(wall_time);
  put_integer(event, 2, step);
  put_bytes(event, 5, summary);  // Event.summary
  return event;
}

EventFile::EventFile(const fs::path& directory, std::int64_t resumed_iteration)
    : file_(free_name(directory, seconds_now()), AppendFile::Mode::kNew) {
  file_.append(tfrecord(version_event(seconds_now())));
  if (resumed_iteration > 0) file_.append(tfrecord(restart_event(seconds_now(), resumed_iteration + 1)));
}

void EventFile::write(const StepMetrics& step) {
  const std::array scalars = {
      Scalar{"train/loss", static_cast<float>(step.loss)},
      Scalar{"train/grad_norm", static_cast<float>(step.grad_norm)},
      Scalar{"train/learning_rate", static_cast<float>(step.learning_rate)},
      Scalar{"train/trained_tokens", static_cast<float>(step.trained_tokens)},
      Scalar{"train/elapsed_ms", static_cast<float>(step.elapsed_ms)},
      Scalar{"train/tokens_per_second_per_gpu", static_cast<float>(step.tokens_per_second_per_gpu)},
      Scalar{"train/model_tflops_per_gpu", static_cast<float>(step.model_tflops_per_gpu)},
      Scalar{"train/memory_gib", static_cast<float>(step.memory_gib)},
      Scalar{"train/skipped", static_cast<float>(step.skipped)},
  };
  file_.append(tfrecord(scalars_event(seconds_now(), step.iteration, scalars)));
}

void EventFile::write(const ValidationMetrics& validation) {
  const std::array scalars = {Scalar{"validation/loss", static_cast<float>(validation.validation_loss)}};
  file_.append(tfrecord(scalars_event(seconds_now(), validation.iteration, scalars)));
}

}  // namespace primus::monitor
