#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace primus::data {

/// The bytes of a file from front to back, decompressed.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `out` from its start and returns how many bytes came; 0 only at the end. Throws Error naming the file when
  /// it cannot be read or is broken.
  virtual std::size_t read(std::span<char> out) = 0;
  /// Bytes of the file itself read up to now.
  virtual std::int64_t position() const = 0;
};

/// A plain, gzip or zstd file, told apart by its first bytes. Throws Error naming the file when it cannot be opened or
/// is of a kind that holds no JSON (Parquet, Arrow, zip, xz, bzip2, a Git LFS pointer). A pipe is taken too, when it is
/// plain.
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);

}  // namespace primus::data
