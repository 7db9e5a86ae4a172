#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "support.h"

namespace primus::checkpoint {
namespace {

/// A file of the format: `header` with its length before it and `data_bytes` bytes after it.
std::string make_file(const std::string& header, std::size_t data_bytes) {
  std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\x11');
}

class Safetensors : public testing::Test {
 protected:
  /// Expects that a file of these bytes is refused, and that the message names it and has the words.
  void refused(const std::string& bytes, std::vector<std::string> words) {
    const fs::path path = folder_ / "bad.safetensors";
    write_bytes(path, bytes);
    words.push_back(path.string());
    expect_error([&] { SafetensorsFile{path}; }, words);
  }
  void header_refused(const std::string& header, std::size_t data_bytes, const std::vector<std::string>& words) {
    refused(make_file(header, data_bytes), words);
  }

  TemporaryFolder folder_;
};

TEST_F(Safetensors, ReadsAReferenceFile) {
  const SafetensorsFile file(reference("qwen3") / "hf" / "model.safetensors");
  const StoredTensor* tensor = file.find("model.layers.1.mlp.down_proj.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->shape, (std::vector<std::int64_t>{96, 224}));
  EXPECT_EQ(tensor->float_dtype(), DType::kF32);
  EXPECT_EQ(tensor->data.size(), 4U * 96 * 224);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.find("model.layers.9.mlp.down_proj.weight"), nullptr);
}

TEST_F(Safetensors, WritesTheBytesThatTheLibraryWrites) {
  for (const char* model : {"qwen3", "llama31"}) {
    const fs::path original = reference(model) / "hf" / "model.safetensors";
    const SafetensorsFile file(original);
    std::vector<TensorSpec> specs;
    for (const StoredTensor& tensor : file.tensors()) specs.insert(specs.begin(), TensorSpec(tensor));
    SafetensorsWriter writer(folder_ / "model.safetensors", specs);
    for (const TensorSpec& spec : writer.tensors()) {  // in two pieces
      const auto data = file.find(spec.name)->data;
      writer.write(data.first(5));
      writer.write(data.subspan(5));
    }
    writer.finish();
    EXPECT_EQ(read_bytes(folder_ / "model.safetensors"), read_bytes(original)) << model;
  }
}

TEST_F(Safetensors, RoundTripOfAllTypesAndShapes) {
  const std::vector<TensorSpec> specs{{"b", DType::kBF16, {2, 3}},    {"f", DType::kF32, {1}},
                                      {"h", DType::kF16, {4}},        {"scalar", DType::kF32, {}},
                                      {"empty", DType::kF32, {0, 7}}, {"ключ \"quoted\"\n", DType::kI64, {1}}};
  SafetensorsWriter writer(folder_ / "x.safetensors", specs, {});
  unsigned char next = 0;
  for (const TensorSpec& spec : writer.tensors()) {
    std::vector<std::byte> bytes(spec.bytes);
    for (std::byte& one : bytes) one = std::byte{next++};
    writer.write(bytes);
  }
  writer.finish();
  const SafetensorsFile file(folder_ / "x.safetensors");
  ASSERT_EQ(file.tensors().size(), specs.size());
  EXPECT_EQ(file.tensors().front().name, "ключ \"quoted\"\n");  // the widest type comes first
  EXPECT_EQ(file.find("scalar")->numel(), 1);
  EXPECT_EQ(file.find("empty")->numel(), 0);
  EXPECT_EQ(file.find("b")->float_dtype(), DType::kBF16);
  EXPECT_TRUE(file.metadata().empty());
  next = 0;
  for (const StoredTensor& tensor : file.tensors()) {
    for (const std::byte one : tensor.data) EXPECT_EQ(one, std::byte{next++});
  }
}

TEST_F(Safetensors, AFileCutOffAnywhereIsRefused) {
  const std::string whole = read_bytes(reference("qwen2") / "lora_init" / "adapter_model.safetensors");
  std::vector<std::size_t> lengths{0, 1, 7, 8, 9, 100, whole.size() - 1, whole.size() - 4096};
  for (std::size_t length = 11; length < whole.size(); length += whole.size() / 97) lengths.push_back(length);
  for (const std::size_t length : lengths) refused(whole.substr(0, length), {});
  refused(whole + "x", {"after the last tensor"});
}

TEST_F(Safetensors, ChangedHeaderBytesNeverCrash) {
  const std::string whole = read_bytes(reference("qwen2") / "lora_init" / "adapter_model.safetensors");
  const fs::path path = folder_ / "x.safetensors";
  std::uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  for (std::size_t at = 0; at < 8 + header; at += at < 64 ? 1 : 37) {
    for (const char value : {'\0', '"', '9', '\xFF', '['}) {
      std::string bytes = whole;
      bytes[at] = value;
      write_bytes(path, bytes);
      try {  // refused or read: every range that comes out lies in the file
        const SafetensorsFile file(path);
        std::size_t total = 8 + header;
        for (const StoredTensor& tensor : file.tensors()) total += tensor.data.size();
        EXPECT_EQ(total, whole.size());
      } catch (const Error&) {
      }
    }
  }
}

TEST_F(Safetensors, HostileLengths) {
  std::string bytes(8, '\xFF');
  refused(bytes, {"header"});
  refused(bytes + std::string(100, 'x'), {"header"});
  bytes = make_file("{}", 0);
  bytes[0] = 3;
  refused(bytes, {"cut off"});
  bytes = make_file(std::string(200, ' '), 0);
  const std::uint64_t huge = 100'000'001;
  std::memcpy(bytes.data(), &huge, 8);
  refused(bytes, {"header"});
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", {"Git LFS"});
}

TEST_F(Safetensors, HostileHeaders) {
  header_refused("", 0, {"'{'"});
  header_refused(" {}", 0, {"'{'"});
  header_refused("{", 0, {"JSON"});
  header_refused("{}x", 0, {"JSON"});
  header_refused("{}", 1, {"after the last tensor"});
  header_refused(std::string(8'000'000, '{'), 0, {});
  header_refused(R"({"a":)" + std::string(1'000'000, '['), 0, {"a"});
  header_refused(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, {"a", "list"});
  header_refused(R"({"a":{"dtype":"F32","shape":{"b":1},"data_offsets":[0,4]}})", 4, {"a", "object"});
  header_refused(R"({"a":3})", 0, {"a", "number"});
  header_refused(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, {"a"});
  header_refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, {"a", "negative"});
  header_refused(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, {"a", "fraction"});
  header_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, {"a", "two numbers"});
  header_refused(R"({"a":{"dtype":"F32","shape":[1]}})", 0, {"a", "data_offsets"});
  header_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4, {"a", "more"});
  header_refused(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, {"a", "twice"});
  header_refused(R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, {"name"});
  header_refused(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4,
                 {"dimensions"});
  header_refused(R"({"__metadata__":{"format":1}})", 0, {"__metadata__"});
  header_refused(R"({"__metadata__":{"a":{"b":"c"}}})", 0, {"__metadata__"});
  header_refused(R"({"__metadata__":{"a":"b","a":"c"}})", 0, {"twice"});
}

TEST_F(Safetensors, HostileRanges) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
           R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}";
  };
  write_bytes(folder_ / "good.safetensors", make_file(two("[8,16]", "[0,8]"), 16));
  EXPECT_EQ(SafetensorsFile(folder_ / "good.safetensors").tensors().front().name, "b");
  header_refused(two("[0,8]", "[0,8]"), 16, {"b", "before the end"});
  header_refused(two("[0,8]", "[4,12]"), 12, {"b", "before the end"});
  header_refused(two("[0,8]", "[12,20]"), 20, {"b", "beyond"});
  header_refused(two("[8,16]", "[16,24]"), 24, {"a", "begin at 8"});
  header_refused(two("[0,8]", "[8,16]"), 15, {"b", "cut off"});
  header_refused(two("[0,8]", "[8,16]"), 17, {"after the last tensor"});
  header_refused(two("[8,0]", "[8,16]"), 16, {"a", "backwards"});
  header_refused(two("[0,9]", "[9,17]"), 17, {"a", "8 bytes"});
  header_refused(two("[0,9223372036854775807]", "[8,16]"), 16, {"a"});
  header_refused(two("[0,18446744073709551615]", "[8,16]"), 16, {"a", "large"});
  header_refused(two("[0,99999999999999999999999]", "[8,16]"), 16, {"a"});
  header_refused(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, {"a", "counted"});
  header_refused(R"({"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,4],"data_offsets":[0,4]}})", 4,
                 {"a", "counted"});
  header_refused(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8, {"a", "twice"});
}

TEST_F(Safetensors, OtherElementTypesAreNamedWhenNeeded) {
  write_bytes(
      folder_ / "x.safetensors",
      make_file(
          R"({"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"NEW","shape":[3],"data_offsets":[4,5]}})",
          5));
  const SafetensorsFile file(folder_ / "x.safetensors");
  expect_error([&] { static_cast<void>(file.find("a")->float_dtype()); }, {"x.safetensors", "a", "F8_E4M3", "BF16"});
  expect_error([&] { static_cast<void>(file.find("b")->float_dtype()); }, {"NEW"});
}

TEST_F(Safetensors, ShardsWithAnIndex) {
  const std::vector<TensorSpec> specs{{"w1", DType::kF32, {4}}, {"w2", DType::kF32, {4}}, {"w3", DType::kBF16, {2}}};
  write_model_files(folder_.path(), specs, 32, [](const TensorSpec& tensor, const ByteSink& sink) {
    sink(std::vector<std::byte>(tensor.bytes, std::byte{static_cast<unsigned char>(tensor.name.back())}));
  });
  EXPECT_TRUE(fs::exists(folder_ / "model-00001-of-00002.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "model-00002-of-00002.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  EXPECT_NE(read_bytes(folder_ / "model.safetensors.index.json").find("\"total_size\": 36"), std::string::npos);
  const ModelFiles files(folder_.path());
  EXPECT_EQ(files.tensors().size(), 3U);
  ASSERT_NE(files.find("w3"), nullptr);
  EXPECT_EQ(files.find("w3")->data.front(), std::byte{'3'});
  EXPECT_EQ(files.find("w9"), nullptr);
}

TEST_F(Safetensors, AnIndexMayNotLeaveItsFolder) {
  const fs::path index = folder_ / "model.safetensors.index.json";
  for (const char* name :
       {"../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "..", "", "x.bin", "a\\\\x.safetensors"}) {
    write_bytes(index, fmt::format(R"({{"weight_map": {{"a": "{}"}}}})", name));
    expect_error([&] { ModelFiles{folder_.path()}; }, {"index.json", "same directory"});
  }
  write_bytes(index, R"({"weight_map": {"a": "x.safetensors"}})");
  expect_error([&] { ModelFiles{folder_.path()}; }, {"x.safetensors", "not there"});
  write_bytes(folder_ / "x.safetensors", make_file("{}", 0));
  expect_error([&] { ModelFiles{folder_.path()}; }, {"a", "x.safetensors", "no such tensor"});
  write_bytes(index, R"({"weight_map": ["a"]})");
  expect_error([&] { ModelFiles{folder_.path()}; }, {"weight_map"});
  write_bytes(index, R"({"weight_map": {"a": 1}})");
  expect_error([&] { ModelFiles{folder_.path()}; }, {"weight_map", "a"});
}

TEST_F(Safetensors, SaysWhatIsThereInstead) {
  expect_error([&] { ModelFiles{folder_.path()}; }, {"no model.safetensors"});
  write_bytes(folder_ / "pytorch_model.bin", "x");
  expect_error([&] { ModelFiles{folder_.path()}; }, {"pytorch_model.bin", "convert"});
  expect_error([&] { ModelFiles{folder_ / "nowhere"}; }, {"not a directory"});
}

TEST_F(Safetensors, FingerprintsTellWeightsApart) {
  const fs::path original = reference("qwen3") / "hf" / "model.safetensors";
  fs::copy_file(original, folder_ / "model.safetensors");
  const std::string before = fingerprint(ModelFiles(folder_.path()));
  EXPECT_EQ(before, fingerprint(ModelFiles(reference("qwen3") / "hf")));
  std::string bytes = read_bytes(original);
  bytes[bytes.size() - 200] ^= 1;
  write_bytes(folder_ / "model.safetensors", bytes);
  EXPECT_NE(before, fingerprint(ModelFiles(folder_.path())));
}

TEST_F(Safetensors, AFullDiskIsAnErrorWithTheReason) {
  // a limit on the size of files is the disk that a test can fill without privileges; it gives EFBIG where a disk gives
  // ENOSPC, on the same path
  const std::vector<TensorSpec> specs{{"a", DType::kF32, {1024, 1024}}};
  const fs::path path = folder_ / "x.safetensors";
  const std::string message = with_file_size_limit(1 << 20, [&] {
    SafetensorsWriter writer(path, specs);
    const std::vector<std::byte> bytes(specs[0].bytes);
    writer.write(bytes);
    writer.finish();
  });
  EXPECT_NE(message.find("x.safetensors"), std::string::npos) << message;
  EXPECT_NE(message.find("too large"), std::string::npos) << message;
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

}  // namespace
}  // namespace primus::checkpoint
