#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace primus::data {

/// The longest row that is read.
constexpr std::size_t kLongestRow = 64u << 20;

/// Whether a file is called as data files are: .jsonl, .ndjson or .json, also with .gz or .zst; not hidden.
bool has_data_name(const std::filesystem::path& path);

/// The data files of a path: itself, or all .jsonl, .ndjson and .json files (and these with .gz or .zst) below a
/// directory, sorted; hidden ones are left out. Throws Error when the path is missing or the directory holds none.
std::vector<std::filesystem::path> data_files(const std::filesystem::path& path);

/// One row as it stands in the file.
struct RowText {
  std::string_view text;   // valid until the next call
  std::uint32_t row = 0;   // from 1
  std::uint32_t line = 0;  // where it begins, from 1
};

/// Reads the rows of one file one after the other, in little memory: one row a line (blank lines are skipped), or one
/// JSON array of rows, told apart by the first character; as it is, gzip or zstd, told apart by the first bytes.
class RowReader {
 public:
  /// Throws Error naming the file when it cannot be opened or is of another kind (Parquet, zip, …).
  explicit RowReader(const std::filesystem::path& path);
  ~RowReader();
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;

  /// False at the end. Throws Error with file and line: a row over kLongestRow, an array that is broken or not closed,
  /// compressed data that is broken or ends early.
  bool next(RowText& row);
  /// Bytes of the file read up to now, compressed ones if it is.
  std::int64_t bytes_read() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace primus::data
