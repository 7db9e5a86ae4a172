#pragma once

#include <string>

namespace primus::tokenizer {

/// The pattern with which PCRE2 (UTF, UCP, multi-line) matches what Oniguruma matches with `pattern` in its Ruby
/// syntax, for which the patterns of tokenizer.json are written. \s, \w, \h, \v, \b and [:alpha:] get that engine's
/// members, \p{Han} is the script without its extensions, \uHHHH is a character, and a quantifier behind an interval
/// repeats it (in PCRE2 it would make the interval possessive or lazy). Throws Error with `where` on what PCRE2 cannot
/// say: sets inside sets, and \W, \H or [:^alpha:] inside a set.
std::string from_oniguruma(const std::string& pattern, const std::string& where);

}  // namespace primus::tokenizer
