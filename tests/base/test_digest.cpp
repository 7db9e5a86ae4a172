#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"

namespace primus {
namespace {

TEST(Digest, EqualsThePublishedExamples) {  // FIPS 180-4, examples of one block and of none
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Digest sha1(DigestKind::kSha1);
  sha1.update("a");
  sha1.update("bc");
  EXPECT_EQ(sha1.finish(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha1.finish(), "da39a3ee5e6b4b0d3255bfef95601890afd80709") << "as new after finish";
}

TEST(ChunkedDigest, IsTheSameInPiecesAndOnThreads) {
  std::string bytes(ChunkedDigest::kChunk * 2 + 12345, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 % 251);
  const std::string path = ::testing::TempDir() + "primus_digest";
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, ChunkedDigest::kChunk, bytes.size()}) {
    const std::string_view part = std::string_view(bytes).substr(0, size);
    ChunkedDigest pieces;
    for (std::size_t at = 0; at < size; at += 1'000'003) {
      pieces.update(std::as_bytes(std::span(part.substr(at, 1'000'003))));
    }
    const std::string digest = pieces.finish();
    write_text(path, part);
    EXPECT_EQ(digest, chunked_digest(path, 1));
    EXPECT_EQ(digest, chunked_digest(path, 3));
  }
  const std::string before = chunked_digest(path, 2);
  bytes.back() ^= 1;
  write_text(path, bytes);
  EXPECT_NE(chunked_digest(path, 2), before);
  EXPECT_THROW(chunked_digest("/no/such/file", 2), Error);
}

}  // namespace
}  // namespace primus
