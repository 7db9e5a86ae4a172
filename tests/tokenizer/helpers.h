#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "tokenizer/chat_template.h"

namespace primus::tokenizer {

inline const std::string kData = PRIMUS_SOURCE_DIR "/tests/tokenizer/data/";

/// The rows of a JSON lines file in data/.
inline std::vector<Value> rows_of(const std::string& file) {
  std::vector<Value> rows;
  const std::string text = read_text(kData + file);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    rows.push_back(parse_json(std::string_view(text).substr(at, end - at), file));
    at = end + 1;
  }
  return rows;
}

inline std::vector<TokenId> ids_of(const Value& list) {
  std::vector<TokenId> ids;
  for (const Value& id : list.as_list()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

inline Value message(const std::string& role, const std::string& content) {
  return Value(Dict{{"role", Value(role)}, {"content", Value(content)}});
}

/// The message of the Error that `body` throws; a failure when it throws none.
template <typename Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

#define EXPECT_ERROR(statement, part) \
  EXPECT_NE(error_of([&] { statement; }).find(part), std::string::npos) << error_of([&] { statement; })

/// A text of 1 to 40 random code points, plain letters and marks among them.
inline std::string random_text(const Philox& random, std::uint64_t index) {
  std::uint64_t draw = index * 128;
  const std::uint64_t size = 1 + random.below(draw++, 40);
  std::string text;
  const auto append = [&text](std::uint32_t c) {
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else if (c < 0x800) {
      text += {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      text += {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 63)),
               static_cast<char>(0x80 | (c & 63))};
    } else {
      text += {static_cast<char>(0xF0 | (c >> 18)), static_cast<char>(0x80 | ((c >> 12) & 63)),
               static_cast<char>(0x80 | ((c >> 6) & 63)), static_cast<char>(0x80 | (c & 63))};
    }
  };
  constexpr std::uint32_t kBounds[] = {0x80, 0x80, 0x80, 0x250, 0x3000, 0x10000, 0x110000};
  for (std::uint64_t i = 0; i < size; ++i) {
    const std::uint32_t bound = kBounds[random.below(draw++, 7)];
    const auto c = static_cast<std::uint32_t>(random.below(draw++, bound));
    append(c >= 0xD800 && c < 0xE000 ? c - 0x800 : c);
  }
  return text;
}

}  // namespace primus::tokenizer
