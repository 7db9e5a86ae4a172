#include "hub/remote.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace primus::hub {
namespace {

using Json = nlohmann::json;

constexpr int kMostRedirects = 5;

/// "\"abc\"", "W/\"abc\"" -> abc
std::string plain_etag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

bool is_blob_name(const std::string& etag) {
  return !etag.empty() && etag.front() != '.' &&
         etag.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") ==
             std::string::npos;
}

RemoteFile read_file(const Json& entry) {
  RemoteFile file{.path = entry.at("rfilename"), .etag = entry.value("blobId", ""), .size = entry.value("size", -1L)};
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    file.etag = lfs->value("sha256", "");
    file.size = lfs->value("size", file.size);
  }
  if (!is_blob_name(file.etag)) file.etag.clear();
  return file;
}

/// One line of what the hub says itself, without what could steer a terminal.
std::string told_by(const Response& response) {
  std::string text = response.header("x-error-message").substr(0, 200);
  std::erase_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  return text.empty() ? "" : " (\"" + text + "\")";
}

}  // namespace

RemoteRepository::RemoteRepository(const Repository& repository, const Settings& settings)
    : repository_(repository),
      settings_(settings),
      title_((repository.kind == Kind::kModel ? "" : "data set ") + repository.name),
      place_((repository.kind == Kind::kModel ? "" : "datasets/") + repository.name) {}

std::string RemoteRepository::url_of(const std::string& path, const std::string& commit) const {
  return fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, place_, commit, url_path(path));
}

Listing RemoteRepository::list(const std::string& revision) const {
  const std::string kind = repository_.kind == Kind::kModel ? "models" : "datasets";
  const std::string url =
      fmt::format("{}/api/{}/{}/revision/{}?blobs=true", settings_.endpoint, kind, repository_.name, revision);
  const std::atomic<bool> cancelled{false};
  HttpClient client(settings_, cancelled);
  const std::string what = fmt::format("{}: asking {} for its files", title_, settings_.endpoint);
  const Response response = with_retries(settings_, cancelled, what, [&] { return client.get(url); });
  if (!response.ok()) refuse(response, what);
  try {
    const Json json = Json::parse(response.body);
    Listing listing{.commit = json.at("sha"), .files = {}};
    if (!is_commit(listing.commit)) throw host_lacks("{}: the answer names no commit", what);
    for (const Json& entry : json.at("siblings")) {
      RemoteFile file = read_file(entry);
      if (is_safe_path(file.path)) listing.files.push_back(std::move(file));
    }
    return listing;
  } catch (const Json::exception& error) {
    throw host_lacks("{}: the answer is no list of files: {}", what, error.what());
  }
}

RemoteFile RemoteRepository::look_up(RemoteFile file, const std::string& commit, HttpClient& client,
                                     const std::atomic<bool>& cancelled) const {
  std::string url = url_of(file.path, commit);
  const std::string what = fmt::format("{}: {}", title_, file.path);
  for (int redirects = 0; redirects <= kMostRedirects; ++redirects) {
    const Response response = with_retries(settings_, cancelled, what, [&] { return client.head(url); });
    const bool moved = response.status >= 300 && response.status < 400;
    if (!moved && !response.ok()) refuse(response, what);
    const std::string linked = response.header("x-linked-etag");
    const std::string location = response.header("location");
    if (moved && linked.empty() && location.starts_with('/')) {  // a repository that has another name now
      url = settings_.endpoint + location;
      continue;
    }
    file.etag = plain_etag(linked.empty() ? response.header("etag") : linked);
    if (!is_blob_name(file.etag)) break;
    const std::string size = response.header(linked.empty() ? "content-length" : "x-linked-size");
    if (!size.empty() && size.find_first_not_of("0123456789") == std::string::npos && size.size() < 19) {
      file.size = std::stoll(size);
    }
    return file;
  }
  throw host_lacks("{}: the hub gives no etag for it", what);
}

void RemoteRepository::refuse(const Response& response, const std::string& what) const {
  const std::string told = told_by(response);
  const std::string page = fmt::format("{}/{}", settings_.endpoint, place_);
  switch (response.status) {
    case 401:
      if (settings_.token.empty()) {
        throw bad_input(
            "{}: the hub answers 401{}: there is no such repository, or it is private or gated. Check the name, or set "
            "HF_TOKEN to a token that may read it",
            what, told);
      }
      throw bad_input("{}: the hub answers 401{}: HF_TOKEN is not valid, or there is no such repository", what, told);
    case 403:
      throw bad_input(
          "{}: the hub answers 403{}: access is not granted. Accept the conditions at {} with the account of HF_TOKEN, "
          "and see whether the token may read gated repositories",
          what, told, page);
    case 404:
      if (response.header("x-error-code") == "RevisionNotFound") {
        throw bad_input("{}: the hub answers 404{}: there is no revision {}", what, told, repository_.revision);
      }
      throw bad_input("{}: the hub answers 404{}: there is nothing at {}", what, told, page);
    default:
      throw host_lacks("{}: {}{}", what,
                       response.failure.empty() ? fmt::format("the hub answers {}", response.status) : response.failure,
                       told);
  }
}

}  // namespace primus::hub
