#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "hub/hub.h"

namespace primus::hub {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_true(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
  return word == "1" || word == "ON" || word == "YES" || word == "TRUE";
}

fs::path hf_home() {
  if (const std::string home = environment("HF_HOME"); !home.empty()) return home;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "huggingface";
  return fs::path(environment("HOME")) / ".cache/huggingface";
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

std::string find_token() {
  if (std::string token = trimmed(environment("HF_TOKEN")); !token.empty()) return token;
  const std::string named = environment("HF_TOKEN_PATH");
  const fs::path file = named.empty() ? hf_home() / "token" : fs::path(named);
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) ? trimmed(read_text(file)) : "";
}

}  // namespace

Settings settings_from_environment() {
  Settings settings;
  if (std::string endpoint = trimmed(environment("HF_ENDPOINT")); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
      throw bad_input("HF_ENDPOINT: '{}' is no http:// or https:// address", endpoint);
    }
    settings.endpoint = endpoint;
  }
  settings.token = find_token();
  if (std::any_of(settings.token.begin(), settings.token.end(), [](unsigned char c) { return c <= ' ' || c > '~'; })) {
    throw bad_input("HF_TOKEN holds characters that no token has");
  }
  const std::string cache = environment("HF_HUB_CACHE");
  settings.cache = cache.empty() ? hf_home() / "hub" : fs::path(cache);
  settings.offline = is_true(environment("HF_HUB_OFFLINE")) || is_true(environment("TRANSFORMERS_OFFLINE"));
  return settings;
}

}  // namespace primus::hub
