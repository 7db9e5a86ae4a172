#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/hub.h"

namespace primus::hub {

/// A file of a repository. `etag` names its blob: the SHA-256 of a large file, git's SHA-1 of a small one.
struct RemoteFile {
  std::string path;
  std::string etag;        // empty: not known yet
  std::int64_t size = -1;  // -1: not known yet
};

/// One commit of a repository.
struct Listing {
  std::string commit;
  std::vector<RemoteFile> files;
};

/// A repository's folder in the cache:
///     blobs/<etag>, blobs/<etag>.incomplete      contents
///     refs/<revision>                            the commit that a branch or tag stood for
///     snapshots/<commit>/<path> -> ../../blobs/<etag>
class CachedRepository {
 public:
  CachedRepository(const std::filesystem::path& cache, const Repository& repository);

  /// The commit of the revision, if the cache knows it.
  std::optional<std::string> commit() const;
  std::filesystem::path snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }
  std::filesystem::path blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  /// The lock under which a blob is written; huggingface_hub takes the same.
  std::filesystem::path lock(const std::string& etag) const;
  const std::filesystem::path& folder() const { return folder_; }

  /// Makes the snapshot's links, in order, then the reference.
  void publish(const Listing& listing) const;

 private:
  std::filesystem::path folder_;
  std::filesystem::path locks_;
  std::string revision_;
};

/// 40 lower-case hexadecimal digits.
bool is_commit(std::string_view text);
/// A relative path without "..", empty parts, or characters that do not belong into a file's name.
bool is_safe_path(std::string_view path);

}  // namespace primus::hub
