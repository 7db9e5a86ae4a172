#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/config.h"
#include "model/parameter.h"
#include "tensor/arena.h"
#include "tensor/stream.h"

namespace primus::checkpoint {

namespace fs = std::filesystem;

/// A folder of its own for each test, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

/// tests/data/reference/<model>
fs::path reference(const std::string& model);

std::string read_bytes(const fs::path& path);
void write_bytes(const fs::path& path, const std::string& bytes);

/// Runs `action`, which must throw an Error; expects every word in its message and returns it.
template <typename Action>
std::string expect_error(const Action& action, const std::vector<std::string>& words) {
  std::string message;
  try {
    action();
    ADD_FAILURE() << "no Error was thrown; expected one with: " << (words.empty() ? "anything" : words.front());
    return message;
  } catch (const Error& error) {
    message = error.what();
  }
  for (const std::string& word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << "\"" << word << "\" in: " << message;
  }
  return message;
}

/// The message of the Error that `action` throws while files may not grow beyond `bytes`; "" when it throws none.
std::string with_file_size_limit(std::uint64_t bytes, const std::function<void()>& action);

struct TinyOptions {
  DType compute = DType::kF32;
  DType moments = DType::kF32;
  bool train_base = true;
  std::int64_t lora_rank = 0;  // 0: none; else adapters on all seven projections, and a frozen base
  double lora_alpha = 8.0;
};

/// A model's parameters in memory, laid out by hand as the engine does: fused q, k, v and gate, up; masters apart from
/// the compute copies unless both are f32; the base weight's buffer has columns for the adapters' scaled B.
class TinyModel {
 public:
  TinyModel(const model::ModelConfig& config, const TinyOptions& options);

  model::ParameterRegistry& registry() { return registry_; }
  Stream& stream() { return stream_; }
  model::Parameter& operator[](const std::string& name);

 private:
  void add_fused(const std::vector<std::pair<std::string, std::int64_t>>& parts, std::int64_t columns, int rank,
                 bool adapted);
  void add_adapter(const std::string& module, const Tensor& base, std::int64_t rows, std::int64_t columns,
                   std::int64_t rank_begin);
  void give_training_memory(model::Parameter& parameter);

  TinyOptions options_;
  Arena arena_;
  Stream stream_;
  model::ParameterRegistry registry_;
};

/// All elements as f32, in row-major order.
std::vector<float> values(const Tensor& tensor);
/// Fills a tensor with numbers that depend on `seed`.
void fill(const Tensor& tensor, std::uint64_t seed);

}  // namespace primus::checkpoint
