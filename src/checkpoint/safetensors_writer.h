#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "tensor/dtype.h"

namespace primus::checkpoint {

/// A tensor that is going to be written.
struct TensorSpec {
  TensorSpec(std::string name, DType dtype, std::vector<std::int64_t> shape);
  /// One that a file has, of any element type.
  explicit TensorSpec(const StoredTensor& tensor);

  std::string name;
  std::string dtype;  // as headers have it: "BF16"
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
};

/// Takes a tensor's bytes piece by piece, in order.
using ByteSink = std::function<void(std::span<const std::byte>)>;

/// One safetensors file, written from front to back and put in place by finish(). Nothing is held in memory. The bytes
/// are those that the safetensors library writes: larger element types first, then by name, a header padded to eight.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  /// In the order of the file: the order in which write() takes their bytes.
  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  void write(std::span<const std::byte> bytes);
  /// All bytes must have come.
  void finish();

  std::uint64_t size() const { return file_.size(); }
  /// Of everything written so far.
  std::uint32_t crc32c() const { return crc_; }

 private:
  void put(std::span<const std::byte> bytes);

  AtomicFile file_;
  std::vector<TensorSpec> tensors_;
  std::uint64_t expected_ = 0;
  std::uint64_t written_ = 0;
  std::uint32_t crc_ = 0;
};

constexpr std::uint64_t kDefaultShardBytes = 5'000'000'000;

/// Hugging Face's files in `folder`: model.safetensors, or, above `max_shard_bytes`, model-00001-of-00003.safetensors …
/// with model.safetensors.index.json. A tensor is never split. `fill(tensor, sink)` is called once for each tensor.
void write_model_files(const std::filesystem::path& folder, const std::vector<TensorSpec>& tensors,
                       std::uint64_t max_shard_bytes,
                       const std::function<void(const TensorSpec& tensor, const ByteSink& sink)>& fill);

}  // namespace primus::checkpoint
