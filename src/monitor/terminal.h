#pragma once

#include <cstdio>
#include <string>

namespace primus::monitor {

/// Whether `file` is a terminal whose last line can be drawn again.
bool can_redraw(std::FILE* file);

/// Columns of the terminal; 80 when it does not tell.
int terminal_width(std::FILE* file);

/// "=====>              " for a fraction from 0 to 1.
std::string gauge(double fraction);

/// Puts `line` in place of the terminal's last line.
void redraw_line(std::FILE* terminal, const std::string& line);
void clear_line(std::FILE* terminal);

}  // namespace primus::monitor
