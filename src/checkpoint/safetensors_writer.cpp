#include "checkpoint/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "checkpoint/checksum.h"
#include "checkpoint/safetensors_header.h"

namespace primus::checkpoint {
namespace {

using Json = nlohmann::ordered_json;

std::string shard_name(std::size_t shard, std::size_t count) {
  return count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, count);
}

/// Types of which the size is not known, those below a byte among them, come last.
std::uint64_t alignment_of(const TensorSpec& tensor) { return element_bytes(tensor.dtype).value_or(0); }

}  // namespace

TensorSpec::TensorSpec(std::string name, DType dtype, std::vector<std::int64_t> shape)
    : name(std::move(name)), dtype(safetensors_name(dtype)), shape(std::move(shape)) {
  bytes = static_cast<std::uint64_t>(element_count(this->shape)) * size_of(dtype);
}

TensorSpec::TensorSpec(const StoredTensor& tensor)
    : name(tensor.name), dtype(tensor.dtype), shape(tensor.shape), bytes(tensor.data.size()) {}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path), tensors_(std::move(tensors)) {
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return alignment_of(a) != alignment_of(b) ? alignment_of(a) > alignment_of(b) : a.name < b.name;
  });
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (const TensorSpec& tensor : tensors_) {
    const std::uint64_t end = at + tensor.bytes;
    PRIMUS_CHECK(!header.contains(tensor.name), tensor.name);
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  expected_ = at;

  std::string text = header.dump();
  constexpr std::size_t kAlignment = 8;
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const auto length = static_cast<std::uint64_t>(text.size());
  put(std::as_bytes(std::span(&length, 1)));
  put(std::as_bytes(std::span(text)));
}

void SafetensorsWriter::put(std::span<const std::byte> bytes) {
  file_.write(bytes);
  crc_ = checkpoint::crc32c(bytes, crc_);
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  PRIMUS_CHECK(written_ <= expected_, written_, expected_);
  put(bytes);
}

void SafetensorsWriter::finish() {
  PRIMUS_CHECK(written_ == expected_, written_, expected_);
  file_.finish();
}

void write_model_files(const std::filesystem::path& folder, const std::vector<TensorSpec>& tensors,
                       std::uint64_t max_shard_bytes,
                       const std::function<void(const TensorSpec& tensor, const ByteSink& sink)>& fill) {
  std::vector<std::vector<TensorSpec>> shards(1);
  std::uint64_t total = 0;
  std::uint64_t in_shard = 0;
  std::int64_t parameters = 0;
  for (const TensorSpec& tensor : tensors) {
    if (!shards.back().empty() && in_shard + tensor.bytes > max_shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(tensor);
    in_shard += tensor.bytes;
    total += tensor.bytes;
    parameters += element_count(tensor.shape);
  }

  nlohmann::json weight_map = nlohmann::json::object();
  for (std::size_t shard = 0; shard < shards.size(); ++shard) {
    const std::string name = shard_name(shard, shards.size());
    SafetensorsWriter writer(folder / name, std::move(shards[shard]));
    for (const TensorSpec& tensor : writer.tensors()) {
      fill(tensor, [&](std::span<const std::byte> bytes) { writer.write(bytes); });
      weight_map[tensor.name] = name;
    }
    writer.finish();
  }
  if (shards.size() == 1) return;
  const Json index = {{"metadata", {{"total_parameters", parameters}, {"total_size", total}}},
                      {"weight_map", weight_map}};
  write_text(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace primus::checkpoint
