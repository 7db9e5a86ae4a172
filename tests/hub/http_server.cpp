#include "http_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

namespace primus::hub::testing {
namespace {

constexpr int kPollMs = 20;

bool send_all(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

/// "a%20b" -> "a b"
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      plain += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

HttpRequest parse(const std::string& head) {
  HttpRequest request;
  std::istringstream lines(head);
  lines >> request.method >> request.path;
  request.path = unescaped(request.path);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers[name] = line.substr(colon + 2, line.find_last_not_of('\r') - colon - 1);
  }
  return request;
}

}  // namespace

HttpServer::HttpServer(std::function<HttpReply(const HttpRequest&)> answer) : answer_(std::move(answer)) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(socket_, 64) != 0 ||
      ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no port to listen on");
  }
  port_ = ntohs(address.sin_port);
  listener_ = std::thread([this] { listen(); });
}

HttpServer::~HttpServer() {
  stopped_ = true;
  listener_.join();
  for (std::thread& thread : threads_) thread.join();
  ::close(socket_);
}

std::string HttpServer::address() const { return "http://127.0.0.1:" + std::to_string(port_); }

std::vector<HttpRequest> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void HttpServer::listen() {
  while (!stopped_) {
    pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kPollMs) <= 0) continue;
    const int connection = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) threads_.emplace_back([this, connection] { serve(connection); });
  }
}

void HttpServer::serve(int connection) {
  most_at_once_ = std::max(most_at_once_.load(), ++at_once_);
  std::string head;
  for (char c = 0; head.find("\r\n\r\n") == std::string::npos && ::recv(connection, &c, 1, 0) == 1;) head += c;
  if (!head.empty()) {
    const HttpRequest request = parse(head);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const HttpReply reply = answer_(request);
    std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " x\r\nConnection: close\r\n";
    for (const std::string& header : reply.headers) text += header + "\r\n";
    const bool has_length = std::any_of(reply.headers.begin(), reply.headers.end(),
                                        [](const std::string& h) { return h.starts_with("Content-Length"); });
    if (!has_length) text += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
    send_all(connection, text + "\r\n");
    if (request.method != "HEAD") send_all(connection, std::string_view(reply.body).substr(0, reply.drop_after));
    char c = 0;
    while (reply.stall && !stopped_ && ::recv(connection, &c, 1, MSG_DONTWAIT) != 0) ::usleep(kPollMs * 1000);
  }
  ::shutdown(connection, SHUT_RDWR);
  ::close(connection);
  --at_once_;
}

}  // namespace primus::hub::testing
