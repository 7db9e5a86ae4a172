#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/digest_memo.h"
#include "data/summary.h"
#include "data/token_set.h"

namespace primus::data {

/// A token set as a folder: a file for each array of TokenArrays, which is mapped as it is, and set.json with the key,
/// the files' sizes and digests, and what of the summary cannot be counted from the set.
class TokenSetWriter : public RowSink {
 public:
  /// `folder` must be there and empty. Throws Error (kHostLacks) when it cannot be written; so do all members.
  explicit TokenSetWriter(const std::filesystem::path& folder);
  ~TokenSetWriter() override;

  void begin_source() override;
  using RowSink::add;
  void add(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels, const RowOrigin& origin) override;
  /// Writes the rest and syncs everything to the disk.
  void finish(const std::string& key, const DataSummary& summary);

 private:
  struct Storage;
  std::unique_ptr<Storage> storage_;
};

/// Notes the digests of a folder that TokenSetWriter has just written: opening it need not read it again.
void note_digests(const std::filesystem::path& folder, const std::string& key, const DigestMemo& memo);

struct StoredSet {
  TokenSet tokens;
  DataSummary summary;
};

/// Maps a folder that TokenSetWriter wrote. `files` are the names of the data files, which the folder does not know.
/// Every byte is checked against its digest. Throws Error saying what is wrong: a folder of another version or key, a
/// missing, truncated or changed file, arrays that do not fit together.
StoredSet open_token_set(const std::filesystem::path& folder, const std::string& key, std::vector<std::string> files,
                         const DigestMemo& memo, int threads);

}  // namespace primus::data
