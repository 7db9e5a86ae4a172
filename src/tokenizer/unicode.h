#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace primus::tokenizer::unicode {

/// Offset of the first byte that is no UTF-8, or npos.
std::size_t find_invalid(std::string_view text);

/// Length in bytes of the character whose first byte is `lead` (valid UTF-8 only).
inline std::size_t length_of(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

/// The code point at `at` of a valid text; `at` moves behind it.
char32_t next(std::string_view text, std::size_t& at);
/// Start of the character that ends before `at` (at > 0).
std::size_t previous(std::string_view text, std::size_t at);
void append(std::string& text, char32_t code_point);
std::u32string decode(std::string_view text);
std::string encode(std::u32string_view text);
/// Code points of a valid text.
std::size_t count(std::string_view text);

/// `bytes` with every maximal broken part replaced by U+FFFD (Unicode 15, section 3.9, as Rust and Python do).
std::string replace_invalid(std::string_view bytes);
/// Bytes at the end of `bytes` that begin a character which may still be completed (0 to 3).
std::size_t incomplete_tail(std::string_view bytes);

bool is_white_space(char32_t code_point);  // property White_Space
bool is_word(char32_t code_point);         // Rust's \w: Alphabetic, marks, digits, connectors, joiners
bool is_letter(char32_t code_point);       // category L*
bool is_digit(char32_t code_point);        // category Nd
bool is_number(char32_t code_point);       // category N*
bool is_punctuation(char32_t code_point);  // category P*
bool is_upper(char32_t code_point);
bool is_lower(char32_t code_point);
bool is_printable(char32_t code_point);  // Python's str.isprintable
char32_t to_lower(char32_t code_point);
char32_t to_upper(char32_t code_point);
char32_t to_title(char32_t code_point);

}  // namespace primus::tokenizer::unicode
