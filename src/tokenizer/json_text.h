#pragma once

#include <string>
#include <string_view>

namespace primus::tokenizer {

/// Appends `text` in double quotes, escaped as Python's json module does.
void append_json_string(std::string& out, std::string_view text, bool ensure_ascii);

/// The shortest decimal text of a float, written as Python's repr does: 1.0, 1e-05, 1e+16, nan.
std::string python_float(double number);

}  // namespace primus::tokenizer
