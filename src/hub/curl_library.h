#pragma once

#include <curl/curl.h>

namespace primus::hub {

/// The functions of libcurl that are used. The library is loaded when the first file is downloaded: it brings two dozen
/// others, which would take longer to start than most commands run.
struct CurlLibrary {
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_reset) easy_reset;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_perform) easy_perform;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_strerror) easy_strerror;
};

/// Throws Error (kHostLacks) naming the package when the library is not installed.
const CurlLibrary& curl_library();

}  // namespace primus::hub
