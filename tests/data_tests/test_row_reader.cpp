#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <array>

#include "data/row_reader.h"
#include "data_folder.h"

namespace primus::data {
namespace {

using testing::DataFolder;
using testing::message_of;

struct Row {
  std::string text;
  std::uint32_t row = 0;
  std::uint32_t line = 0;
  bool operator==(const Row&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.row << "@" << row.line << " " << row.text.substr(0, 80);
}

std::vector<Row> read_all(const std::string& path) {
  RowReader reader(path);
  std::vector<Row> rows;
  for (RowText row; reader.next(row);) rows.push_back({std::string(row.text), row.row, row.line});
  return rows;
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

TEST(RowReader, TakesOneRowALine) {
  const DataFolder folder;
  EXPECT_EQ(read_all(folder.write("a.jsonl", "{\"a\": 1}\n\n  \t\n{\"b\": 2}\r\n{\"c\": 3}")),
            (std::vector<Row>{{"{\"a\": 1}", 1, 1}, {"{\"b\": 2}\r", 2, 4}, {"{\"c\": 3}", 3, 5}}));
  EXPECT_EQ(read_all(folder.write("a.jsonl", "\xEF\xBB\xBF\n\n{}\n")), (std::vector<Row>{{"{}", 1, 3}}));
  EXPECT_TRUE(read_all(folder.write("a.jsonl", "")).empty());
  EXPECT_TRUE(read_all(folder.write("a.jsonl", "\n \n")).empty());
}

TEST(RowReader, TakesAnArrayOfRows) {
  const DataFolder folder;
  const std::string first = R"({"a": "] , } \" [", "b": [1, [2]]})";
  EXPECT_EQ(read_all(folder.write("a.json", "\n[\n  " + first + ",\n  {\n\"c\": {}\n},{}\n]\n")),
            (std::vector<Row>{{first, 1, 3}, {"{\n\"c\": {}\n}", 2, 4}, {"{}\n", 3, 6}}));
  EXPECT_TRUE(read_all(folder.write("a.json", " [ ] ")).empty());
  EXPECT_EQ(read_all(folder.write("a.json", "[1,2]")), (std::vector<Row>{{"1", 1, 1}, {"2", 2, 1}}));
}

TEST(RowReader, NamesTheLineWhereAnArrayIsBroken) {
  const DataFolder folder;
  const auto error_of = [&](const std::string& content) {
    const auto path = folder.write("a.json", content);
    const std::string message = message_of([&] { read_all(path); });
    return message.substr(std::min(path.size(), message.size()));
  };
  EXPECT_EQ(error_of("[\n{},\n{\"a\": [}"),
            ":3: the array of rows is not closed: expected ',' or ']' after the row that begins here");
  EXPECT_EQ(error_of("[{}]\n{}"), ":2: expected nothing after the array of rows");
  EXPECT_EQ(error_of("["), ":1: the array of rows is not closed: expected ',' or ']' after the row that begins here");
}

/// More than one chunk of the reader, rows of all lengths.
std::string many_rows(int rows) {
  std::string text;
  for (int row = 0; row < rows; ++row) text += "{\"r\": \"" + std::string(row * 37 % 3001, 'x') + "\"}\n";
  return text;
}

TEST(RowReader, RowsOverTheEdgeOfAChunkStayWhole) {
  const DataFolder folder;
  const std::string text = many_rows(3000);
  const auto lines = read_all(folder.write("a.jsonl", text));
  ASSERT_EQ(lines.size(), 3000U);
  std::string joined, array = "[";
  for (const Row& row : lines) {
    EXPECT_EQ(row.row, row.line);
    joined += row.text + "\n";
    array += (row.row > 1 ? "," : "") + row.text;
  }
  EXPECT_EQ(joined, text);
  const auto elements = read_all(folder.write("a.json", array + "]"));
  ASSERT_EQ(elements.size(), 3000U);
  for (std::size_t row = 0; row < 3000; ++row) EXPECT_EQ(elements[row].text, lines[row].text);
}

TEST(RowReader, ReadsGzipAndZstdWhateverTheirName) {
  const DataFolder folder;
  const std::string text = many_rows(3000);
  const auto plain = read_all(folder.write("a.jsonl", text));
  EXPECT_EQ(read_all(folder.write("a.jsonl.gz", gzip(text))), plain);
  EXPECT_EQ(read_all(folder.write("a.jsonl.zst", zstd(text))), plain);
  EXPECT_EQ(read_all(folder.write("other", zstd(text))), plain);
  const std::size_t middle = text.find('\n', text.size() / 2) + 1;
  EXPECT_EQ(read_all(folder.write("two.gz", gzip(text.substr(0, middle)) + gzip(text.substr(middle)))), plain);
  EXPECT_EQ(read_all(folder.write("two.zst", zstd(text.substr(0, middle)) + zstd(text.substr(middle)))), plain);
  EXPECT_TRUE(read_all(folder.write("empty.gz", gzip(""))).empty());
  const std::string skipped("\x50\x2a\x4d\x18\x04\0\0\0size", 12);  // pzstd puts one before each frame
  EXPECT_EQ(
      read_all(folder.write("pzstd.zst", skipped + zstd(text.substr(0, middle)) + skipped + zstd(text.substr(middle)))),
      plain);
  EXPECT_TRUE(read_all(folder.write("empty.zst", zstd(""))).empty());
}

TEST(RowReader, NamesACompressedFileThatIsBroken) {
  const DataFolder folder;
  const std::string text = many_rows(500);
  for (const std::string name : {"a.jsonl.gz", "a.jsonl.zst"}) {
    std::string bytes = name == "a.jsonl.gz" ? gzip(text) : zstd(text);
    const auto cut = folder.write(name, bytes.substr(0, bytes.size() / 2));
    EXPECT_NE(message_of([&] { read_all(cut); }).find("the file ends early"), std::string::npos)
        << message_of([&] { read_all(cut); });
    for (std::size_t i = 20; i < 60; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 0x5A);
    const auto broken = folder.write(name, bytes);
    EXPECT_EQ(message_of([&] { read_all(broken); }).find(broken + ": broken "), 0U);
  }
}

/// A path that gives `bytes` once, as <(command) in a shell.
class Pipe {
 public:
  explicit Pipe(std::string_view bytes) {
    EXPECT_EQ(::pipe(ends_.data()), 0);
    EXPECT_EQ(::write(ends_[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::close(ends_[1]);
  }
  ~Pipe() { ::close(ends_[0]); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(ends_[0]); }

 private:
  std::array<int, 2> ends_{};
};

TEST(RowReader, ReadsAPipe) {
  const DataFolder folder;
  const std::string text = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  EXPECT_EQ(read_all(Pipe(text).path()), read_all(folder.write("a.jsonl", text)));
  EXPECT_NE(message_of([&] { read_all(Pipe(zstd(text)).path()); }).find("decompress it into the pipe"),
            std::string::npos);
}

TEST(RowReader, NamesKindsOfFilesThatHoldNoJson) {
  const DataFolder folder;
  const auto parquet = folder.write("a.parquet", "PAR1aaaaaa");
  EXPECT_EQ(message_of([&] { read_all(parquet); }),
            parquet + " is Parquet; data must be JSON lines or a JSON array (.jsonl, .json, also .gz or .zst)");
  const auto pointer = folder.write("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n");
  EXPECT_NE(message_of([&] { read_all(pointer); }).find("is a Git LFS pointer (git lfs pull fetches the file); "),
            std::string::npos);
  EXPECT_EQ(message_of([&] { read_all(folder.path() + "/none"); }),
            "cannot open " + folder.path() + "/none: No such file or directory");
}

TEST(RowReader, RefusesARowOver64MiB) {
  const DataFolder folder;
  const std::string row = "{\"a\": \"" + std::string(kLongestRow, 'x') + "\"}";
  const auto lines = folder.write("a.jsonl", "{}\n" + row + "\n");
  EXPECT_EQ(message_of([&] { read_all(lines); }),
            lines + ":2: the row is longer than 64 MiB, the most that is read; split it or leave it out");
  const auto array = folder.write("a.json", "[{},\n" + row + "]");
  EXPECT_EQ(message_of([&] { read_all(array); }).find(array + ":2: the row is longer than 64 MiB"), 0U);
}

TEST(DataFiles, AreFoundBelowADirectorySorted) {
  const DataFolder folder;
  for (const char* name :
       {"b.jsonl", "a.json.gz", "c/d.ndjson.zst", ".hidden.jsonl", ".git/x.jsonl", "README.md", "e.parquet", "f.gz"}) {
    folder.write(name, "");
  }
  std::vector<std::string> names;
  for (const auto& file : data_files(folder.path())) {
    names.push_back(std::filesystem::relative(file, folder.path()).string());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"a.json.gz", "b.jsonl", "c/d.ndjson.zst"}));
  EXPECT_EQ(data_files(folder.path() + "/README.md").size(), 1U) << "a file that is named is taken";
  EXPECT_NE(message_of([&] { data_files(folder.path() + "/.git/none"); }).find("no such file"), std::string::npos);
  folder.write("empty/x.txt", "");
  EXPECT_NE(message_of([&] { data_files(folder.path() + "/empty"); }).find("holds no data files"), std::string::npos);
}

}  // namespace
}  // namespace primus::data
