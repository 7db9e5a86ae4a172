#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

/// Values as YAML text that reads back to the same values.
namespace primus::config {

/// The shortest text that reads back to the same double, with a point or exponent: "0.0", "1e-05", "500000.0".
std::string emit_number(double value);

/// Plain where that is safe, else in double quotes; `${` becomes `$${`.
std::string emit_text(std::string_view text);

/// In double quotes with JSON's escapes (valid in YAML too).
std::string emit_json_string(std::string_view text);

std::string emit_text_list(const std::vector<std::string>& texts);         // [a, b]
std::string emit_number_list(const std::vector<double>& numbers);          // [0.5, 1.0]
std::string emit_text_map(const std::map<std::string, std::string>& map);  // {prompt: question}

}  // namespace primus::config
