#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/token_set_file.h"

namespace primus::data {

/// Tokenized sets on the disk, each a folder named by its key: a digest of everything that it was made from. Any number
/// of processes may use one cache: one of them builds a set, the others wait for it, all map the same pages read-only.
/// A set is written beside its place and renamed when it is whole and on the disk, so a killed process leaves nothing
/// that is taken for a set; its remains are removed by the next one that builds the same set.
class TokenCache {
 public:
  explicit TokenCache(std::filesystem::path folder) : folder_(std::move(folder)), memo_(folder_ / "digests") {}

  /// Opens the set, or has it built: `build` adds the rows to the sink and returns the summary. A folder that is
  /// damaged or not ours is told in the log and built again. `files` are the names of the data files. Throws Error:
  /// what `build` throws; kHostLacks when the cache cannot be written.
  StoredSet find_or_build(const std::string& key, const std::vector<std::string>& files, int threads,
                          const std::function<DataSummary(RowSink&)>& build) const;

  const DigestMemo& memo() const { return memo_; }

 private:
  std::filesystem::path folder_;
  DigestMemo memo_;
};

/// Where the cache is unless told otherwise: tokens/ in PRIMUS_CACHE, else in XDG_CACHE_HOME/primus, else in
/// ~/.cache/primus. Empty (no cache) when PRIMUS_CACHE is "none" or there is no home.
std::filesystem::path default_token_cache();

}  // namespace primus::data
