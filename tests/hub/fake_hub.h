#pragma once

#include <deque>
#include <map>
#include <string>

#include "http_server.h"

namespace primus::hub::testing {

/// One repository as the hub serves it: the list of files, files by commit, ranges; large files lie on another server
/// (another port), to which it redirects.
class FakeHub {
 public:
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  explicit FakeHub(std::string name = "org/model", std::string kind = "models");

  void add_small(const std::string& path, const std::string& content) { add(path, content, false); }
  void add_large(const std::string& path, const std::string& content) { add(path, content, true); }

  /// The next requests whose path ends with `path` (of either server) get these answers, one each. A drop is put on the
  /// right answer.
  void fail_next(const std::string& path, HttpReply reply);
  void drop_next(const std::string& path, std::size_t after, bool stall = false);

  bool lists_blobs = true;       // the list of files has etags and sizes
  bool ignores_ranges = false;   // answers 200 with everything
  std::string wrong_content_of;  // this file comes with other bytes than its etag says
  std::string extra_listing;     // more entries of the list, as JSON
  std::string token;             // not empty: required
  int delay_ms = 0;              // before each answer
  FakeHub* also = nullptr;       // answers for the repositories that this one has not

  std::string address() const { return endpoint_.address(); }
  HttpServer& endpoint() { return endpoint_; }
  HttpServer& store() { return store_; }
  /// Requests for a file's content, of both servers, that brought some.
  int downloads_of(const std::string& path) const;

  std::string etag(const std::string& path) const { return files_.at(path).etag; }
  const std::string& content(const std::string& path) const { return files_.at(path).content; }

 private:
  struct File {
    std::string content;
    std::string etag;
    bool large;
  };
  struct Fault {
    bool drops = false;
    HttpReply reply;
  };

  void add(const std::string& path, const std::string& content, bool large);
  HttpReply answer(const HttpRequest& request);
  HttpReply answer_rightly(const HttpRequest& request);
  HttpReply list() const;
  HttpReply serve_file(const HttpRequest& request, const std::string& path, bool from_store) const;

  std::string name_;
  std::string kind_;
  std::map<std::string, File> files_;
  std::mutex mutex_;
  std::map<std::string, std::deque<Fault>> faults_;
  HttpServer store_;
  HttpServer endpoint_;
};

}  // namespace primus::hub::testing
