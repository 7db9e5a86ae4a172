#include "monitor/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace primus::monitor {
namespace {

constexpr int kUsualWidth = 80;
constexpr int kGaugeWidth = 20;

}  // namespace

bool can_redraw(std::FILE* file) {
  const char* terminal = std::getenv("TERM");
  return ::isatty(::fileno(file)) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

int terminal_width(std::FILE* file) {
  winsize size{};
  return ::ioctl(::fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsualWidth;
}

std::string gauge(double fraction) {
  const int filled = static_cast<int>(fraction * kGaugeWidth);
  std::string bar(kGaugeWidth, ' ');
  std::fill_n(bar.begin(), filled, '=');
  if (filled < kGaugeWidth) bar[static_cast<std::size_t>(filled)] = '>';
  return bar;
}

void redraw_line(std::FILE* terminal, const std::string& line) {
  const std::string text = "\r" + line + "\x1b[K";
  std::fwrite(text.data(), 1, text.size(), terminal);
  std::fflush(terminal);
}

void clear_line(std::FILE* terminal) {
  std::fputs("\r\x1b[K", terminal);
  std::fflush(terminal);
}

}  // namespace primus::monitor
