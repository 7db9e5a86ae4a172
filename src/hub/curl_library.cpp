#include "hub/curl_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace primus::hub {
namespace {

void* open_library() {
  for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"}) {
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  throw host_lacks("downloading needs libcurl.so.4 (package libcurl4): {}", ::dlerror());
}

CurlLibrary load() {
  void* library = open_library();
  const auto find = [library](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    if (function == nullptr) throw host_lacks("libcurl lacks {}: it is too old", name);
  };
  decltype(&::curl_global_init) global_init = nullptr;
  find(global_init, "curl_global_init");
  CurlLibrary curl{};
  find(curl.easy_init, "curl_easy_init");
  find(curl.easy_cleanup, "curl_easy_cleanup");
  find(curl.easy_reset, "curl_easy_reset");
  find(curl.easy_setopt, "curl_easy_setopt");
  find(curl.easy_perform, "curl_easy_perform");
  find(curl.easy_getinfo, "curl_easy_getinfo");
  find(curl.easy_strerror, "curl_easy_strerror");
  if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw host_lacks("libcurl cannot be set up");
  return curl;
}

}  // namespace

const CurlLibrary& curl_library() {
  static const CurlLibrary library = load();
  return library;
}

}  // namespace primus::hub
