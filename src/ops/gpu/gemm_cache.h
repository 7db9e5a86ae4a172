#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>

namespace primus::ops::gpu {

/// Which algorithm was the fastest for a matrix product, kept in a file for one device and one version of the library:
/// a line a product, its key, the library's own words for the algorithm and the seconds it took. A file that is missing
/// or broken only costs the search; several processes may use one at a time.
class GemmCache {
 public:
  using Algorithm = std::array<std::uint64_t, 8>;

  /// In $PRIMUS_GEMM_CACHE, else $XDG_CACHE_HOME/primus, else ~/.cache/primus; in memory only where there is no such
  /// folder or the variable is empty. `name` becomes the file's name.
  explicit GemmCache(const std::string& name);
  /// Reads `path`; an empty path: in memory only.
  explicit GemmCache(const std::filesystem::path& path);

  std::optional<Algorithm> find(const std::string& key) const;
  void put(const std::string& key, const Algorithm& algorithm, double seconds);

  /// Writes what was put, joined with what other processes have written since. Failing is only logged.
  void save();

 private:
  struct Entry {
    Algorithm algorithm{};
    double seconds = 0.0;
  };
  using Entries = std::unordered_map<std::string, Entry>;
  static Entries read(const std::filesystem::path& path);

  std::filesystem::path path_;
  Entries entries_;
  bool changed_ = false;
};

}  // namespace primus::ops::gpu
