#include "monitor/metrics_file.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace primus::monitor {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRowStart = R"({"iteration":)";

/// Shortest text that reads back as the same double; JSON has no NaN and no infinity.
std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

/// The iteration of a whole row of ours; nothing for anything else.
std::optional<std::int64_t> iteration_of(std::string_view row) {
  if (!row.starts_with(kRowStart) || !row.ends_with('}')) return std::nullopt;
  row.remove_prefix(kRowStart.size());
  std::int64_t iteration = 0;
  const auto [end, error] = std::from_chars(row.data(), row.data() + row.size(), iteration);
  if (error != std::errc() || *end != ',') return std::nullopt;
  return iteration;
}

void cut_after(const fs::path& path, std::int64_t last_iteration) {
  std::error_code code;
  if (!fs::is_regular_file(path, code)) return;  // opening it says what is wrong
  const std::string before = read_text(path);
  std::string kept;
  std::size_t broken = 0;
  for (std::size_t start = 0; start < before.size();) {
    const std::size_t end = before.find('\n', start);
    const std::string_view row = std::string_view(before).substr(start, end - start);
    start = end == std::string::npos ? before.size() : end + 1;
    const auto iteration = iteration_of(row);
    if (!iteration || end == std::string::npos) {
      ++broken;
    } else if (*iteration <= last_iteration) {
      kept.append(row).push_back('\n');
    }
  }
  if (broken > 0) log::warning("{}: dropped {} unfinished line{}", path.string(), broken, broken == 1 ? "" : "s");
  if (kept.size() != before.size()) write_text(path, kept);
}

const fs::path& cut(const fs::path& path, std::int64_t last_iteration) {
  cut_after(path, last_iteration);
  return path;
}

}  // namespace

MetricsFile::MetricsFile(const fs::path& path, std::int64_t resumed_iteration)
    : file_(cut(path, resumed_iteration), AppendFile::Mode::kAppend) {}

void MetricsFile::write(const StepMetrics& step) { file_.append(row(step) + '\n'); }

void MetricsFile::write(const ValidationMetrics& validation) { file_.append(row(validation) + '\n'); }

std::string MetricsFile::row(const StepMetrics& step) {
  return fmt::format(
      R"({}{},"loss":{},"grad_norm":{},"learning_rate":{},"tokens":{},"trained_tokens":{},"elapsed_ms":{},)"
      R"("tokens_per_second_per_gpu":{},"model_tflops_per_gpu":{},"memory_gib":{},"skipped":{}}})",
      kRowStart, step.iteration, number(step.loss), number(step.grad_norm), number(step.learning_rate), step.tokens,
      step.trained_tokens, number(step.elapsed_ms), number(step.tokens_per_second_per_gpu),
      number(step.model_tflops_per_gpu), number(step.memory_gib), step.skipped);
}

std::string MetricsFile::row(const ValidationMetrics& validation) {
  return fmt::format(R"({}{},"validation_loss":{},"validation_tokens":{}}})", kRowStart, validation.iteration,
                     number(validation.validation_loss), validation.validation_tokens);
}

}  // namespace primus::monitor
