#include "data/token_set_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/array_file.h"
#include "data/token_columns.h"

namespace primus::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kKind = "primus token set";
constexpr const char* kIndex = "set.json";

Json to_json(const RowNotes& notes) {
  Json places = Json::array();
  for (const RowPlace& place : notes.places) places.push_back({place.file, place.line});
  return {{"count", notes.count}, {"places", places}};
}

RowNotes notes_of(const Json& json) {
  RowNotes notes{.count = json.at("count")};
  for (const Json& place : json.at("places")) notes.places.push_back({place.at(0), place.at(1)});
  return notes;
}

Json names_of(const std::vector<RowFormat>& formats) {
  Json names = Json::array();
  for (const RowFormat format : formats) names.push_back(name_of(format));
  return names;
}

/// The mapped files of one set.
class Mapping {
 public:
  Mapping(const fs::path& folder, const Json& arrays, const DigestMemo& memo, int threads) : folder_(folder) {
    files_.reserve(arrays.size());
    for (const auto& [name, about] : arrays.items()) map(name, about, memo, threads);
  }

  template <typename T>
  std::span<const T> array(const char* name) const {
    for (const auto& [known, file] : files_) {
      if (known != name) continue;
      if (file.bytes().size() % sizeof(T) != 0) throw bad_input("{}: {} is no array", folder_.string(), name);
      return {reinterpret_cast<const T*>(file.bytes().data()), file.bytes().size() / sizeof(T)};
    }
    throw bad_input("{}: {} is missing", folder_.string(), name);
  }

 private:
  void map(const std::string& name, const Json& about, const DigestMemo& memo, int threads) {
    MappedFile file(folder_ / name);
    const std::size_t bytes = about.at("bytes");
    if (file.bytes().size() != bytes) {
      throw bad_input("{}: {} bytes instead of {}", file.path().string(), file.bytes().size(), bytes);
    }
    if (memo.digest(file.path(), threads) != about.at("digest").get<std::string>()) {
      throw bad_input("{}: its content is not what was written", file.path().string());
    }
    files_.emplace_back(name, std::move(file));
  }

  fs::path folder_;
  std::vector<std::pair<std::string, MappedFile>> files_;
};

bool ascends_from_0(std::span<const std::int64_t> values, std::int64_t last) {
  return !values.empty() && values.front() == 0 && values.back() == last &&
         std::is_sorted(values.begin(), values.end());
}

void check_arrays(const TokenArrays& arrays, const fs::path& folder) {
  const auto tokens = static_cast<std::int64_t>(arrays.ids.size());
  const auto rows = static_cast<std::int64_t>(arrays.target_count.size());
  const bool fits = ascends_from_0(arrays.offsets, tokens) && ascends_from_0(arrays.source_rows, rows) &&
                    static_cast<std::int64_t>(arrays.offsets.size()) == rows + 1 &&
                    arrays.origins.size() == arrays.target_count.size() &&
                    arrays.trained.size() == (arrays.ids.size() + 63) / 64 &&
                    (arrays.labels.empty() || arrays.labels.size() == arrays.ids.size()) &&
                    std::all_of(arrays.origins.begin(), arrays.origins.end(),
                                [&](const RowOrigin& origin) { return origin.file < arrays.files.size(); });
  if (!fits) throw bad_input("{}: its arrays do not fit together", folder.string());
}

Json read_index(const fs::path& folder, const std::string& key) {
  Json index = Json::parse(read_text(folder / kIndex));
  if (index.at("kind") != kKind) throw bad_input("{}: not a {}", (folder / kIndex).string(), kKind);
  if (index.at("key") != key) throw bad_input("{}: belongs to other data", (folder / kIndex).string());
  return index;
}

}  // namespace

struct TokenSetWriter::Storage {
  explicit Storage(const fs::path& where)
      : folder(where),
        columns{.ids = FileArray<std::int32_t>(where / "ids"),
                .offsets = FileArray<std::int64_t>(where / "offsets"),
                .trained = FileArray<std::uint64_t>(where / "trained"),
                .labels = FileArray<std::int32_t>(where / "labels"),
                .target_count = FileArray<std::int32_t>(where / "target_count"),
                .origins = FileArray<RowOrigin>(where / "origins"),
                .source_rows = FileArray<std::int64_t>(where / "source_rows")} {}

  fs::path folder;
  TokenColumns<FileArray> columns;
};

TokenSetWriter::TokenSetWriter(const fs::path& folder) : storage_(std::make_unique<Storage>(folder)) {}
TokenSetWriter::~TokenSetWriter() = default;

void TokenSetWriter::begin_source() { storage_->columns.begin_source(); }

void TokenSetWriter::add(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                         const RowOrigin& origin) {
  storage_->columns.add(ids, labels, origin);
}

void TokenSetWriter::finish(const std::string& key, const DataSummary& summary) {
  TokenColumns<FileArray>& columns = storage_->columns;
  columns.finish();
  Json arrays = Json::object();
  const auto close = [&](const char* name, ByteFile& file) {
    const std::size_t bytes = file.bytes();
    arrays[name] = {{"bytes", bytes}, {"digest", file.finish()}};
  };
  close("ids", columns.ids.file());
  close("offsets", columns.offsets.file());
  close("trained", columns.trained.file());
  close("labels", columns.labels.file());
  close("target_count", columns.target_count.file());
  close("origins", columns.origins.file());
  close("source_rows", columns.source_rows.file());
  const Json index = {{"kind", kKind},
                      {"key", key},
                      {"arrays", arrays},
                      {"rows_read", summary.rows_read},
                      {"seq_length", summary.seq_length},
                      {"cut", to_json(summary.cut)},
                      {"dropped", to_json(summary.dropped)},
                      {"without_tools", to_json(summary.without_tools)},
                      {"formats", names_of(summary.formats)}};
  ByteFile file(storage_->folder / kIndex);
  const std::string text = index.dump(1) + "\n";
  file.append(std::as_bytes(std::span(text)));
  file.finish();
}

void note_digests(const fs::path& folder, const std::string& key, const DigestMemo& memo) {
  const Json index = read_index(folder, key);
  for (const auto& [name, about] : index.at("arrays").items()) memo.note(folder / name, about.at("digest"));
}

StoredSet open_token_set(const fs::path& folder, const std::string& key, std::vector<std::string> files,
                         const DigestMemo& memo, int threads) {
  try {
    const Json index = read_index(folder, key);
    const auto mapping = std::make_shared<const Mapping>(folder, index.at("arrays"), memo, threads);
    TokenArrays arrays{.ids = mapping->array<std::int32_t>("ids"),
                       .offsets = mapping->array<std::int64_t>("offsets"),
                       .trained = mapping->array<std::uint64_t>("trained"),
                       .labels = mapping->array<std::int32_t>("labels"),
                       .target_count = mapping->array<std::int32_t>("target_count"),
                       .origins = mapping->array<RowOrigin>("origins"),
                       .source_rows = mapping->array<std::int64_t>("source_rows"),
                       .files = std::move(files)};
    check_arrays(arrays, folder);
    StoredSet stored{TokenSet(std::move(arrays), mapping), {}};
    stored.summary = summarize(stored.tokens);
    stored.summary.rows_read = index.at("rows_read");
    stored.summary.seq_length = index.at("seq_length");
    stored.summary.cut = notes_of(index.at("cut"));
    stored.summary.dropped = notes_of(index.at("dropped"));
    stored.summary.without_tools = notes_of(index.at("without_tools"));
    for (const std::string name : index.at("formats")) stored.summary.formats.push_back(format_named(name));
    return stored;
  } catch (const nlohmann::json::exception& error) {
    throw bad_input("{}: {}", (folder / kIndex).string(), error.what());
  }
}

}  // namespace primus::data
