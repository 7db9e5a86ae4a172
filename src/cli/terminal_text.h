#pragma once

#include <string>
#include <string_view>

namespace primus::cli {

/// `text` (UTF-8) with control characters written out, as \x1b, so that rows cannot steer the terminal. Line breaks and
/// tabs stay.
std::string visible(std::string_view text);

/// `when` is auto, always or never; auto: `fd` is a terminal that knows colours, and NO_COLOR is not set. Throws Error
/// for any other word.
bool wants_colours(const std::string& when, int fd);

}  // namespace primus::cli
