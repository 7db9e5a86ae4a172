#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace primus {

enum class DigestKind { kSha1, kSha256 };

/// SHA-1 or SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Digest {
 public:
  explicit Digest(DigestKind kind = DigestKind::kSha256);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// In lower-case hexadecimal digits. The object is as new afterwards.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::string_view text);

/// SHA-256 over the SHA-256s of 4-MiB chunks, so that cores can share the work on one file. As Digest.
class ChunkedDigest {
 public:
  static constexpr std::size_t kChunk = 4u << 20;

  void update(std::span<const std::byte> bytes);
  std::string finish();

 private:
  Digest chunk_;
  Digest chunks_;
  std::size_t in_chunk_ = 0;
};

/// ChunkedDigest of a file, read on `threads` threads. Throws Error naming the file when it cannot be read.
std::string chunked_digest(const std::filesystem::path& file, int threads);

}  // namespace primus
