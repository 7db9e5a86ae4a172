#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace primus::hub::testing {

struct HttpRequest {
  std::string method;
  std::string path;                            // with what stands behind '?'
  std::map<std::string, std::string> headers;  // names in lower case

  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct HttpReply {
  int status = 200;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  /// Closes the connection after so many bytes of the body, though Content-Length promises them all.
  std::size_t drop_after = std::string::npos;
  /// … or falls silent there until the client goes away.
  bool stall = false;
};

/// An HTTP/1.1 server on a port of 127.0.0.1, a thread and a connection a request.
class HttpServer {
 public:
  explicit HttpServer(std::function<HttpReply(const HttpRequest&)> answer);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address() const;  // http://127.0.0.1:PORT
  std::vector<HttpRequest> requests() const;
  /// Most requests that were being answered at once.
  int most_at_once() const { return most_at_once_; }

 private:
  void listen();
  void serve(int connection);

  std::function<HttpReply(const HttpRequest&)> answer_;
  int socket_ = -1;
  int port_ = 0;
  std::atomic<bool> stopped_{false};
  std::atomic<int> at_once_{0};
  std::atomic<int> most_at_once_{0};
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  std::vector<std::thread> threads_;
  std::thread listener_;
};

}  // namespace primus::hub::testing
