#include "cli/terminal_text.h"

#include <unistd.h>

#include <cstdlib>

#include "base/error.h"

namespace primus::cli {

std::string visible(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F) {
      shown += fmt::format("\\x{:02x}", byte);
    } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 … U+009F
      shown += fmt::format("\\x{:02x}", next);
      ++i;
    } else {
      shown += text[i];
    }
  }
  return shown;
}

bool wants_colours(const std::string& when, int fd) {
  if (when == "always") return true;
  if (when == "never") return false;
  if (when != "auto") throw bad_input("--color: '{}' is neither auto, always nor never", when);
  const char* terminal = std::getenv("TERM");
  const char* refused = std::getenv("NO_COLOR");
  return ::isatty(fd) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb" &&
         (refused == nullptr || *refused == '\0');
}

}  // namespace primus::cli
