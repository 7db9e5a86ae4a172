#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "monitor/append_file.h"
#include "monitor/metrics.h"

namespace primus::monitor {

/// metrics.jsonl: one JSON object a line, a line for each step and for each validation, in order. Numbers read back
/// exactly; what is not finite is null.
class MetricsFile {
 public:
  /// Opens `path` to continue after iteration `resumed_iteration` (0: a run from the start). Rows of later iterations,
  /// and lines that a kill left unfinished, are cut off first, so that each iteration stands in the file once.
  /// Throws Error when the file cannot be read, rewritten or opened. For failures later on see AppendFile.
  MetricsFile(const std::filesystem::path& path, std::int64_t resumed_iteration);

  void write(const StepMetrics& step);
  void write(const ValidationMetrics& validation);

  /// The rows, without the line end.
  static std::string row(const StepMetrics& step);
  static std::string row(const ValidationMetrics& validation);

 private:
  AppendFile file_;
};

}  // namespace primus::monitor
