#include "hub/http.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "hub/curl_library.h"

namespace primus::hub {
namespace {

constexpr std::size_t kLargestBody = 64u << 20;
constexpr long kConnectSeconds = 15;
constexpr auto kNap = std::chrono::milliseconds(20);

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin));
}

bool is_worth_repeating(const Response& response) {
  const long status = response.status;
  return !response.failure.empty() || status == 0 || status == 408 || status == 429 || status >= 500;
}

std::string reason_of(const Response& response) {
  if (!response.failure.empty()) return response.failure;
  return fmt::format("the server answers {}", response.status);
}

/// Retry-After (RFC 9110, 10.2.3): seconds, or a date.
std::chrono::seconds asked_wait(const Response& response) {
  const std::string text = response.header("retry-after");
  long seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size()) return std::chrono::seconds(std::max(seconds, 0L));
  std::tm date{};
  if (::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) == nullptr) return std::chrono::seconds(0);
  return std::chrono::seconds(std::max(::timegm(&date) - std::time(nullptr), std::time_t{0}));
}

}  // namespace

std::string Response::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

struct HttpClient::State {
  State(const CurlLibrary& library, const std::atomic<bool>& stop)
      : curl(library), cancelled(stop), handle(library.easy_init()) {
    if (handle == nullptr) throw std::bad_alloc();
  }
  ~State() { curl.easy_cleanup(handle); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto& response = static_cast<State*>(self)->response;
    const std::string_view line(data, size * count);
    if (line.starts_with("HTTP/")) response.headers.clear();  // of a redirect, or of an interim answer
    if (const auto colon = line.find(':'); colon != std::string_view::npos) {
      response.headers[lower(trimmed(line.substr(0, colon)))] = trimmed(line.substr(colon + 1));
    }
    return size * count;
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    auto& state = *static_cast<State*>(self);
    const std::span<const char> bytes(data, size * count);
    Response& response = state.response;
    state.curl.easy_getinfo(state.handle, CURLINFO_RESPONSE_CODE, &response.status);
    if (state.receiver != nullptr && (response.status == 200 || response.status == 206)) {
      response.progressed = true;
      return (*state.receiver)(response, bytes) ? bytes.size() : 0;
    }
    if (response.body.size() + bytes.size() > kLargestBody) return 0;
    response.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }

  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<State*>(self)->cancelled ? 1 : 0;
  }

  template <typename Value>
  void set(CURLoption option, Value value) {
    const CURLcode code = curl.easy_setopt(handle, option, value);
    PRIMUS_CHECK(code == CURLE_OK, static_cast<int>(option), static_cast<int>(code));
  }

  const CurlLibrary& curl;
  const std::atomic<bool>& cancelled;
  CURL* handle;
  Response response;
  const Receiver* receiver = nullptr;
};

HttpClient::HttpClient(const Settings& settings, const std::atomic<bool>& cancelled)
    : settings_(settings), state_(std::make_unique<State>(curl_library(), cancelled)) {}
HttpClient::~HttpClient() = default;

Response HttpClient::perform(const std::string& url, const Receiver* receiver) {
  State& state = *state_;
  state.response = {};
  state.receiver = receiver;
  state.set(CURLOPT_URL, url.c_str());
  state.set(CURLOPT_PROTOCOLS_STR, "http,https");
  state.set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  state.set(CURLOPT_MAXREDIRS, 10L);
  state.set(CURLOPT_NOSIGNAL, 1L);
  state.set(CURLOPT_USERAGENT, "primus");
  state.set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  state.set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  state.set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(settings_.stall.count()));
  state.set(CURLOPT_TCP_KEEPALIVE, 1L);
  state.set(CURLOPT_HEADERFUNCTION, &State::on_header);
  state.set(CURLOPT_HEADERDATA, &state);
  state.set(CURLOPT_WRITEFUNCTION, &State::on_body);
  state.set(CURLOPT_WRITEDATA, &state);
  state.set(CURLOPT_NOPROGRESS, 0L);
  state.set(CURLOPT_XFERINFOFUNCTION, &State::on_progress);
  state.set(CURLOPT_XFERINFODATA, &state);
  if (!settings_.token.empty()) {  // libcurl drops it when a redirect leads to another host or port
    state.set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    state.set(CURLOPT_XOAUTH2_BEARER, settings_.token.c_str());
  }
  const CURLcode code = state.curl.easy_perform(state.handle);
  if (code != CURLE_OK) state.response.failure = state.curl.easy_strerror(code);
  state.curl.easy_getinfo(state.handle, CURLINFO_RESPONSE_CODE, &state.response.status);
  state.curl.easy_reset(state.handle);
  return std::move(state.response);
}

Response HttpClient::get(const std::string& url) {
  state_->set(CURLOPT_FOLLOWLOCATION, 1L);
  return perform(url, nullptr);
}

Response HttpClient::receive(const std::string& url, std::int64_t offset, const Receiver& receiver) {
  state_->set(CURLOPT_FOLLOWLOCATION, 1L);
  const std::string range = fmt::format("{}-", offset);
  if (offset > 0) state_->set(CURLOPT_RANGE, range.c_str());
  return perform(url, &receiver);
}

Response HttpClient::head(const std::string& url) {
  state_->set(CURLOPT_NOBODY, 1L);
  return perform(url, nullptr);
}

Response with_retries(const Settings& settings, const std::atomic<bool>& cancelled, const std::string& what,
                      const std::function<Response()>& attempt) {
  auto wait = settings.first_wait;
  for (int tries = 1;; ++tries) {
    Response response = attempt();
    if (cancelled || !is_worth_repeating(response)) return response;
    if (response.progressed) {
      tries = 1;
      wait = settings.first_wait;
    }
    if (tries >= settings.attempts) {
      throw host_lacks("{}: {} ({} tries). What has come so far is kept, the same command goes on from there", what,
                       reason_of(response), tries);
    }
    const auto asked = asked_wait(response);
    if (asked > settings.longest_wait) {
      throw host_lacks("{}: {} and asks to come again in {} s", what, reason_of(response), asked.count());
    }
    const auto pause = std::max(wait, std::chrono::duration_cast<std::chrono::milliseconds>(asked));
    log::info("{}: {}; trying again in {:.1f} s", what, reason_of(response), static_cast<double>(pause.count()) * 1e-3);
    const auto until = std::chrono::steady_clock::now() + pause;
    while (!cancelled && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::min(pause, kNap));
    wait *= 2;
  }
}

std::string url_path(const std::string& path) {
  std::string url;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    url += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return url;
}

}  // namespace primus::hub
