#include "fake_hub.h"

#include <chrono>
#include <cstdlib>

#include "base/digest.h"

namespace primus::hub::testing {

FakeHub::FakeHub(std::string name, std::string kind)
    : name_(std::move(name)),
      kind_(std::move(kind)),
      store_([this](const HttpRequest& request) { return answer(request); }),
      endpoint_([this](const HttpRequest& request) { return answer(request); }) {}

void FakeHub::add(const std::string& path, const std::string& content, bool large) {
  Digest git(DigestKind::kSha1);
  git.update("blob " + std::to_string(content.size()) + '\0' + content);
  files_[path] = {content, large ? sha256(content) : git.finish(), large};
}

void FakeHub::fail_next(const std::string& path, HttpReply reply) {
  faults_[path].push_back({.drops = false, .reply = std::move(reply)});
}

void FakeHub::drop_next(const std::string& path, std::size_t after, bool stall) {
  faults_[path].push_back({.drops = true, .reply = {.drop_after = after, .stall = stall}});
}

int FakeHub::downloads_of(const std::string& path) const {
  int count = 0;
  const File& file = files_.at(path);
  for (const HttpServer* server : {&endpoint_, &store_}) {
    for (const HttpRequest& request : server->requests()) {
      const bool redirected = file.large && server == &endpoint_;
      if (request.method == "GET" && request.path.ends_with("/" + path) && !redirected) ++count;
    }
  }
  return count;
}

HttpReply FakeHub::answer(const HttpRequest& request) {
  if (delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
  const std::string path = request.path.substr(0, request.path.find('?'));
  Fault fault;
  bool faulty = false;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [end, waiting] : faults_) {
      if (waiting.empty() || !path.ends_with(end) || request.method == "HEAD") continue;
      const bool redirected = files_.contains(end) && files_.at(end).large && path.starts_with("/" + name_);
      if (redirected) continue;
      fault = waiting.front();
      waiting.pop_front();
      faulty = true;
      break;
    }
  }
  if (faulty && !fault.drops) return fault.reply;
  HttpReply reply = answer_rightly(request);
  if (faulty) {
    reply.drop_after = fault.reply.drop_after;
    reply.stall = fault.reply.stall;
  }
  return reply;
}

HttpReply FakeHub::answer_rightly(const HttpRequest& request) {
  const std::string path = request.path.substr(0, request.path.find('?'));
  const std::string prefix = kind_ == "models" ? "/" + name_ : "/" + kind_ + "/" + name_;
  const std::string resolve = prefix + "/resolve/" + kCommit + "/", store = "/store/";
  if (path.starts_with(store)) return serve_file(request, path.substr(store.size()), true);
  if (!token.empty() && request.header("authorization") != "Bearer " + token) {
    return {.status = 401, .headers = {"X-Error-Message: Invalid username or password."}};
  }
  const std::string listing = "/api/" + kind_ + "/" + name_ + "/revision/";
  if (path.starts_with(listing)) {
    const std::string revision = path.substr(listing.size());
    if (revision != "main" && revision != kCommit && revision != "v1") {
      return {.status = 404, .headers = {"X-Error-Code: RevisionNotFound"}};
    }
    return list();
  }
  if (path.starts_with(resolve)) return serve_file(request, path.substr(resolve.size()), false);
  if (also != nullptr) return also->answer(request);
  return {.status = 404, .headers = {"X-Error-Code: RepoNotFound", "X-Error-Message: Repository not found"}};
}

HttpReply FakeHub::list() const {
  std::string files;
  for (const auto& [path, file] : files_) {
    files += (files.empty() ? "" : ", ") + std::string("{\"rfilename\": \"") + path + "\"";
    if (lists_blobs && file.large) {
      files += ", \"size\": " + std::to_string(file.content.size()) + R"(, "blobId": "00", "lfs": {"sha256": ")" +
               file.etag + R"(", "size": )" + std::to_string(file.content.size()) + R"(, "pointerSize": 134})";
    } else if (lists_blobs) {
      files += ", \"size\": " + std::to_string(file.content.size()) + R"(, "blobId": ")" + file.etag + "\"";
    }
    files += "}";
  }
  return {.status = 200,
          .headers = {"Content-Type: application/json"},
          .body = std::string("{\"sha\": \"") + kCommit + "\", \"siblings\": [" + files + extra_listing + "]}"};
}

HttpReply FakeHub::serve_file(const HttpRequest& request, const std::string& path, bool from_store) const {
  const auto found = files_.find(path);
  if (found == files_.end()) return {.status = 404, .headers = {"X-Error-Code: EntryNotFound"}};
  const File& file = found->second;
  const std::string size = std::to_string(file.content.size());
  if (file.large && !from_store) {
    return {.status = 302,
            .headers = {"Location: " + store_.address() + "/store/" + path, "X-Linked-Etag: \"" + file.etag + "\"",
                        "X-Linked-Size: " + size, std::string("X-Repo-Commit: ") + kCommit}};
  }
  HttpReply reply{.headers = {"ETag: \"" + file.etag + "\""}, .body = file.content};
  if (path == wrong_content_of && !reply.body.empty()) reply.body[0] ^= 1;
  const std::string range = request.header("range");
  if (request.method == "HEAD") {
    reply.headers.push_back("Content-Length: " + size);
  } else if (range.starts_with("bytes=") && !ignores_ranges) {
    const auto begin = static_cast<std::size_t>(std::atoll(range.c_str() + 6));
    if (begin >= reply.body.size()) return {.status = 416};
    reply.status = 206;
    reply.headers.push_back("Content-Range: bytes " + std::to_string(begin) + "-" +
                            std::to_string(reply.body.size() - 1) + "/" + size);
    reply.body.erase(0, begin);
  }
  return reply;
}

}  // namespace primus::hub::testing
