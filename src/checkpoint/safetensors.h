#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "tensor/dtype.h"

/// Files of named tensors, as https://huggingface.co/docs/safetensors describes them: eight bytes with the header's
/// length, a JSON header, the tensors' bytes without holes. Reading trusts nothing: every bound is checked before use.
namespace primus::checkpoint {

std::int64_t element_count(const std::vector<std::int64_t>& shape);

/// A tensor in a mapped file. `data` may lie at any address: elements are not aligned.
struct StoredTensor {
  std::string name;
  std::string dtype;  // as the file has it: "BF16", "F8_E4M3"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
  std::string file;  // for messages

  std::int64_t numel() const { return element_count(shape); }
  /// Throws Error naming file and tensor for other element types than F32, F16 and BF16.
  DType float_dtype() const;
};

/// "(512, 64)" for messages
std::string shape_text(const std::vector<std::int64_t>& shape);
/// "F32", "BF16", … as in headers
const char* safetensors_name(DType dtype);

/// One file, mapped for as long as the object lives.
class SafetensorsFile {
 public:
  /// Throws Error naming the file, and the tensor where there is one: too short, a header that is too long, no JSON,
  /// too deep or not of the format, names that come twice, sizes that overflow or differ from shape times element size,
  /// ranges that overlap, leave holes or leave the file.
  explicit SafetensorsFile(const std::filesystem::path& path);

  /// In the order of their bytes.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  /// nullptr when there is none of that name.
  const StoredTensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }
  /// The header's JSON with its length before it.
  std::span<const std::byte> header() const { return file_.bytes().first(header_bytes_); }

 private:
  MappedFile file_;
  std::size_t header_bytes_ = 0;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
  std::map<std::string, std::string> metadata_;
};

/// The weights of a Hugging Face folder: model.safetensors, or the files that model.safetensors.index.json names.
class ModelFiles {
 public:
  /// Throws Error when there are none (naming what is there instead), when a file is broken, or when the index names a
  /// file outside the folder or a tensor that its file has not got.
  explicit ModelFiles(const std::filesystem::path& folder);

  const StoredTensor* find(std::string_view name) const;
  /// All tensors, file by file in the order of their bytes.
  std::vector<const StoredTensor*> tensors() const;
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }
  /// model.safetensors or the index, for messages
  const std::filesystem::path& path() const { return path_; }

 private:
  void read_index(const std::filesystem::path& folder);

  std::filesystem::path path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::unordered_map<std::string, const StoredTensor*> index_;
};

/// What tells one checkpoint's weights from another's without reading them all: "crc32c:…" over names and sizes of
/// files, headers, and the first 4 KiB of every tensor.
std::string fingerprint(const ModelFiles& files);

}  // namespace primus::checkpoint
