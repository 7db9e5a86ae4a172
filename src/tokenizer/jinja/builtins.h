#pragma once

#include <string>
#include <string_view>

/// Filters and tests are found by name once, when the template is parsed.
namespace primus::tokenizer::jinja {

/// Index of the built-in, or -1.
int find_filter(std::string_view name);
int find_test(std::string_view name);
/// All names with commas between, for messages.
std::string filter_names();
std::string test_names();

}  // namespace primus::tokenizer::jinja
