#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace primus::config {

/// Least number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string
/// alignment).
int edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, or empty when none is near enough to be what was meant (a third of its letters).
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'name'?", or empty when there is no such name.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace primus::config
