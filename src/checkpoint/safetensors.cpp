#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "checkpoint/checksum.h"
#include "checkpoint/safetensors_header.h"

namespace primus::checkpoint {

std::int64_t element_count(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

DType StoredTensor::float_dtype() const {
  if (dtype == "F32") return DType::kF32;
  if (dtype == "F16") return DType::kF16;
  if (dtype == "BF16") return DType::kBF16;
  throw bad_input("{}: {}: elements of type {}; F32, F16 and BF16 are supported", file, name, dtype);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : ", ", size);
  return "(" + text + ")";
}

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "F64";
    case DType::kI64:
      return "I64";
    case DType::kF32:
      return "F32";
    case DType::kI32:
      return "I32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit
  const std::span<const std::byte> bytes = file_.bytes();
  const std::string where = path.string();
  std::uint64_t length = 0;
  if (bytes.size() < sizeof(length)) {
    throw bad_input("{}: {} bytes are too few for a safetensors file; is it a complete download?", where, bytes.size());
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  const std::string_view text = file_.text();
  if (length > kMaxHeader || length > bytes.size() - sizeof(length)) {
    const bool pointer = text.starts_with("version https://git-lfs");
    throw bad_input("{}: the header is to have {} bytes but the file has {}; {}", where, length, bytes.size(),
                    pointer ? "it is a Git LFS pointer: fetch the file itself (git lfs pull)"
                            : "it is cut off, damaged or no safetensors file");
  }
  header_bytes_ = sizeof(length) + static_cast<std::size_t>(length);
  const std::string_view json = text.substr(sizeof(length), static_cast<std::size_t>(length));
  if (!json.starts_with('{')) throw bad_input("{}: the header does not begin with '{{'; no safetensors file", where);

  SafetensorsHeader header = parse_safetensors_header(json, bytes.size() - header_bytes_, where);
  metadata_ = std::move(header.metadata);
  tensors_.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    index_.emplace(entry.name, tensors_.size());
    const auto data = bytes.subspan(header_bytes_ + static_cast<std::size_t>(entry.begin),
                                    static_cast<std::size_t>(entry.end - entry.begin));
    tensors_.push_back({std::move(entry.name), std::move(entry.dtype), std::move(entry.shape), data, where});
  }
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::string fingerprint(const ModelFiles& files) {
  constexpr std::size_t kSample = 4096;
  std::uint32_t sum = 0;
  for (const auto& file : files.files()) {
    const std::string name = file->path().filename().string();
    sum = crc32c(std::as_bytes(std::span(name)), sum);
    sum = crc32c(file->header(), sum);  // sizes are in it
    for (const StoredTensor& tensor : file->tensors()) {
      sum = crc32c(tensor.data.first(std::min(kSample, tensor.data.size())), sum);
    }
  }
  return fmt::format("crc32c:{:08x}", sum);
}

}  // namespace primus::checkpoint
