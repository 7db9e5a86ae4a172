#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "hub/hub.h"

namespace primus::hub {

/// What one request came to.
struct Response {
  long status = 0;                             // of the last response; 0: there was none
  std::map<std::string, std::string> headers;  // of the last response, names in lower case
  std::string body;                            // of `get`; of `receive`, what came with an error status
  std::string failure;                         // why the transfer broke off, or empty
  bool progressed = false;                     // `receive` brought bytes

  std::string header(const std::string& name) const;
  bool ok() const { return failure.empty() && status >= 200 && status < 300; }
};

/// Takes the bytes of a body with status 200 or 206. False ends the transfer.
using Receiver = std::function<bool(const Response& so_far, std::span<const char> bytes)>;

/// Requests to the hub, one after the other over one connection. For one thread.
class HttpClient {
 public:
  /// Transfers end when `cancelled` becomes true.
  HttpClient(const Settings& settings, const std::atomic<bool>& cancelled);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Redirects are followed; the token stays with the endpoint.
  Response get(const std::string& url);
  /// The bytes from `offset` on.
  Response receive(const std::string& url, std::int64_t offset, const Receiver& receiver);
  /// The headers that the endpoint itself gives: no redirect is followed.
  Response head(const std::string& url);

 private:
  struct State;
  Response perform(const std::string& url, const Receiver* receiver);

  const Settings& settings_;
  std::unique_ptr<State> state_;
};

/// Calls `attempt` until it brings a final answer: anything but a broken transfer, 408, 429 and 5xx. Waits between, as
/// long as Retry-After asks or ever longer. Throws Error (kHostLacks) with `what` and the last reason when
/// settings.attempts in a row brought nothing new, or when the server asks for too long a wait.
Response with_retries(const Settings& settings, const std::atomic<bool>& cancelled, const std::string& what,
                      const std::function<Response()>& attempt);

/// A path with everything but letters, digits and -._~/ as %XX.
std::string url_path(const std::string& path);

}  // namespace primus::hub
