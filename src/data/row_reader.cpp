#include "data/row_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "data/byte_source.h"

namespace primus::data {
namespace {

constexpr std::size_t kChunk = 1u << 20;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/// Tells where a JSON value inside an array ends, byte by byte.
class ValueEnd {
 public:
  /// True when `c` is the ',' or ']' after the value.
  bool ends_before(char c) {
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
      return false;
    }
    if (depth_ == 0 && (c == ',' || c == ']')) return true;
    if (c == '"') in_string_ = true;
    if (c == '{' || c == '[') ++depth_;
    if ((c == '}' || c == ']') && depth_ > 0) --depth_;
    return false;
  }

 private:
  bool in_string_ = false;
  bool escaped_ = false;
  std::int64_t depth_ = 0;
};

}  // namespace

bool has_data_name(const std::filesystem::path& path) {
  std::filesystem::path name = path.filename();
  if (name.string().starts_with(".")) return false;
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.extension() == ".jsonl" || name.extension() == ".ndjson" || name.extension() == ".json";
}

std::vector<std::filesystem::path> data_files(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    throw bad_input("{}: no such file or directory{}", path.string(),
                    path.is_relative() ? " below " + std::filesystem::current_path(error).string() : "");
  }
  if (!std::filesystem::is_directory(path, error)) return {path};
  std::vector<std::filesystem::path> files;
  try {
    using Walk = std::filesystem::recursive_directory_iterator;
    for (Walk entry(path, std::filesystem::directory_options::follow_directory_symlink); entry != Walk(); ++entry) {
      if (entry->is_directory() && entry->path().filename().string().starts_with(".")) {
        entry.disable_recursion_pending();
      } else if (entry->is_regular_file() && has_data_name(entry->path())) {
        files.push_back(entry->path());
      }
    }
  } catch (const std::filesystem::filesystem_error& failure) {
    throw bad_input("cannot list {}: {}", path.string(), failure.code().message());
  }
  if (files.empty()) {
    throw bad_input("{} holds no data files (.jsonl, .ndjson or .json, also with .gz or .zst)", path.string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct RowReader::Parts {
  explicit Parts(const std::filesystem::path& path) : name(path.string()), source(open_bytes(path)) {
    while (buffer.size() < 3 && more()) {
    }
    if (buffer.starts_with("\xEF\xBB\xBF")) at = 3;
    while (peek(begin)) {
      if (!is_space(begin)) break;
      if (begin == '\n') ++line;
      ++at;
    }
    if (begin == '[') {
      is_array = true;
      ++at;
    }
  }

  /// Reads on; what begins at `at` then begins at 0. False at the end of the file.
  bool more() {
    buffer.erase(0, at);
    at = 0;
    const std::size_t old = buffer.size();
    buffer.resize(old + kChunk);
    const std::size_t came = source->read({buffer.data() + old, kChunk});
    buffer.resize(old + came);
    return came > 0;
  }

  bool peek(char& c) {
    if (at == buffer.size() && !more()) return false;
    c = buffer[at];
    return true;
  }

  void refuse_long_row(std::size_t size, std::uint32_t at_line) const {
    if (size > kLongestRow) {
      throw bad_input("{}:{}: the row is longer than {} MiB, the most that is read; split it or leave it out", name,
                      at_line, kLongestRow >> 20);
    }
  }

  bool next_line(RowText& out) {
    while (true) {
      std::size_t length = 0;
      const char* end = nullptr;
      while (true) {
        const std::size_t left = buffer.size() - at;
        end = static_cast<const char*>(std::memchr(buffer.data() + at + length, '\n', left - length));
        length = end != nullptr ? static_cast<std::size_t>(end - buffer.data()) - at : left;
        refuse_long_row(length, line);
        if (end != nullptr || !more()) break;
      }
      if (end == nullptr && length == 0) return false;
      const std::string_view text(buffer.data() + at, length);
      at += length + (end != nullptr ? 1 : 0);
      const std::uint32_t text_line = line++;
      if (std::all_of(text.begin(), text.end(), is_space)) continue;
      out = {text, ++row, text_line};
      return true;
    }
  }

  void skip_space() {
    char c = 0;
    while (peek(c) && is_space(c)) {
      if (c == '\n') ++line;
      ++at;
    }
  }

  bool next_element(RowText& out) {
    if (closed) return false;
    skip_space();
    char c = 0;
    if (row == 0 && peek(c) && c == ']') {
      close();
      return false;
    }
    const std::uint32_t begin_line = line;
    ValueEnd value;
    std::size_t length = 0;
    while (true) {
      if (at + length == buffer.size() && !more()) {
        throw bad_input("{}:{}: the array of rows is not closed: expected ',' or ']' after the row that begins here",
                        name, begin_line);
      }
      c = buffer[at + length];
      if (value.ends_before(c)) break;
      if (c == '\n') ++line;
      ++length;
      refuse_long_row(length, begin_line);
    }
    out = {std::string_view(buffer.data() + at, length), ++row, begin_line};
    at += length;
    if (c == ']') {
      last_element = std::string(out.text);  // close() may read on
      close();
      out.text = last_element;
    } else {
      ++at;
    }
    return true;
  }

  void close() {
    closed = true;
    ++at;
    skip_space();
    char c = 0;
    if (peek(c)) throw bad_input("{}:{}: expected nothing after the array of rows", name, line);
  }

  std::string name;
  std::unique_ptr<ByteSource> source;
  std::string buffer;
  std::size_t at = 0;  // of the buffer: everything before is done with
  char begin = 0;
  bool is_array = false;
  bool closed = false;
  std::string last_element;
  std::uint32_t row = 0;
  std::uint32_t line = 1;
};

RowReader::RowReader(const std::filesystem::path& path) : parts_(std::make_unique<Parts>(path)) {}
RowReader::~RowReader() = default;

bool RowReader::next(RowText& row) { return parts_->is_array ? parts_->next_element(row) : parts_->next_line(row); }

std::int64_t RowReader::bytes_read() const { return parts_->source->position(); }

}  // namespace primus::data
