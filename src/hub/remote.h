#pragma once

#include <atomic>
#include <string>

#include "hub/http.h"
#include "hub/repository.h"

namespace primus::hub {

/// What the hub says about a repository.
class RemoteRepository {
 public:
  RemoteRepository(const Repository& repository, const Settings& settings);

  /// All files of a revision. Throws Error: kBadInput when the hub refuses, kHostLacks when it cannot be reached.
  Listing list(const std::string& revision) const;
  /// Etag and size of a file that the listing gave without. Throws as `list`.
  RemoteFile look_up(RemoteFile file, const std::string& commit, HttpClient& client,
                     const std::atomic<bool>& cancelled) const;

  std::string url_of(const std::string& path, const std::string& commit) const;
  /// "org/name" or "data set org/name", for messages.
  const std::string& title() const { return title_; }
  /// The error for an answer that is none of 2xx: what it means and how to mend it.
  [[noreturn]] void refuse(const Response& response, const std::string& what) const;

 private:
  const Repository& repository_;
  const Settings& settings_;
  std::string title_;
  std::string place_;  // "org/name" or "datasets/org/name" behind the endpoint
};

}  // namespace primus::hub
