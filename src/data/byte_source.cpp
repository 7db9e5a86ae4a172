#include "data/byte_source.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"

namespace primus::data {
namespace {

using namespace std::string_view_literals;

class PlainFile : public ByteSource {
 public:
  explicit PlainFile(const std::filesystem::path& path)
      : path_(path), file_(std::fopen(path.c_str(), "rb"), &std::fclose) {
    if (!file_) throw bad_input("cannot open {}: {}", path_.string(), std::strerror(errno));
  }

  /// The first bytes, which read() gives all the same: a pipe cannot be rewound. Before the first read().
  std::string_view peek(std::size_t size) {
    ahead_.resize(size);
    ahead_.resize(read_file(ahead_));
    return ahead_;
  }

  std::size_t read(std::span<char> out) override {
    if (ahead_.empty()) return read_file(out);
    const std::size_t size = ahead_.copy(out.data(), out.size());
    ahead_.erase(0, size);
    return size;
  }
  std::int64_t position() const override { return position_; }

 private:
  std::size_t read_file(std::span<char> out) {
    errno = 0;
    const std::size_t size = std::fread(out.data(), 1, out.size(), file_.get());
    if (size < out.size() && std::ferror(file_.get()) != 0) {
      throw bad_input("cannot read {}: {}", path_.string(), std::strerror(errno));
    }
    position_ += static_cast<std::int64_t>(size);
    return size;
  }

  std::filesystem::path path_;
  std::string ahead_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::int64_t position_ = 0;
};

class GzipFile : public ByteSource {
 public:
  explicit GzipFile(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb"), &gzclose) {
    if (!file_) throw bad_input("cannot open {}: {}", path_.string(), std::strerror(errno));
    gzbuffer(file_.get(), 1u << 18);
  }

  std::size_t read(std::span<char> out) override {
    const int size =
        gzread(file_.get(), out.data(), static_cast<unsigned>(std::min<std::size_t>(out.size(), 1u << 30)));
    int status = Z_OK;
    const char* reason = gzerror(file_.get(), &status);
    if (size < 0 || (status != Z_OK && status != Z_STREAM_END)) {
      const bool early = status == Z_BUF_ERROR;
      throw bad_input("{}: broken gzip data: {}", path_.string(), early ? "the file ends early" : reason);
    }
    return static_cast<std::size_t>(size);
  }
  std::int64_t position() const override { return gzoffset(file_.get()); }

 private:
  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

class ZstdFile : public ByteSource {
 public:
  explicit ZstdFile(const std::filesystem::path& path)
      : path_(path), file_(path), stream_(ZSTD_createDStream(), &ZSTD_freeDStream), compressed_(ZSTD_DStreamInSize()) {
    if (!stream_) throw std::bad_alloc();
  }

  std::size_t read(std::span<char> out) override {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos == 0 && !out.empty()) {
      if (in_.pos == in_.size && !flushing_) {
        in_ = {compressed_.data(), file_.read(compressed_), 0};
        if (in_.size == 0) {
          if (in_frame_) throw bad_input("{}: broken zstd data: the file ends early", path_.string());
          return 0;
        }
      }
      const std::size_t left = ZSTD_decompressStream(stream_.get(), &to, &in_);
      if (ZSTD_isError(left) != 0) throw bad_input("{}: broken zstd data: {}", path_.string(), ZSTD_getErrorName(left));
      in_frame_ = left != 0;
      flushing_ = to.pos == to.size && left != 0;  // more may wait inside the decoder
    }
    return to.pos;
  }
  std::int64_t position() const override { return file_.position(); }

 private:
  std::filesystem::path path_;
  PlainFile file_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> compressed_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool in_frame_ = false;
  bool flushing_ = false;
};

/// A frame, or one to be skipped: pzstd writes such a one first.
bool is_zstd(std::string_view begin) {
  const bool skippable = begin.size() >= 4 && (begin[0] & 0xF0) == 0x50 && begin.substr(1, 3) == "\x2a\x4d\x18";
  return skippable || begin.starts_with("\x28\xb5\x2f\xfd");
}

struct ForeignKind {
  std::string_view begin;
  std::string_view name;
};
constexpr ForeignKind kForeign[] = {{"PAR1"sv, "Parquet"},
                                    {"ARROW1"sv, "Arrow"},
                                    {"PK\x03\x04"sv, "a zip archive"},
                                    {"\xfd"
                                     "7zXZ"sv,
                                     "xz data"},
                                    {"BZh"sv, "bzip2 data"},
                                    {"version https://git-lfs"sv, "a Git LFS pointer (git lfs pull fetches the file)"}};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw bad_input("{} is a directory, not a data file", path.string());
  auto plain = std::make_unique<PlainFile>(path);
  const std::string_view begin = plain->peek(32);
  const bool gzip = begin.starts_with("\x1f\x8b");
  if (gzip || is_zstd(begin)) {
    if (!std::filesystem::is_regular_file(path, error)) {
      throw bad_input("{}: compressed data in a pipe: decompress it into the pipe (zcat, zstdcat)", path.string());
    }
    if (gzip) return std::make_unique<GzipFile>(path);
    return std::make_unique<ZstdFile>(path);
  }
  for (const ForeignKind& kind : kForeign) {
    if (begin.starts_with(kind.begin)) {
      throw bad_input("{} is {}; data must be JSON lines or a JSON array (.jsonl, .json, also .gz or .zst)",
                      path.string(), kind.name);
    }
  }
  return plain;
}

}  // namespace primus::data
