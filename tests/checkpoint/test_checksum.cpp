#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "checkpoint/checksum.h"

namespace primus::checkpoint {
namespace {

std::uint32_t sum(std::string_view text, std::uint32_t previous = 0) {
  return crc32c(std::as_bytes(std::span(text.data(), text.size())), previous);
}

// RFC 3720, appendix B.4
TEST(Crc32c, KnownValues) {
  EXPECT_EQ(sum(""), 0U);
  EXPECT_EQ(sum("123456789"), 0xE3069283U);
  EXPECT_EQ(sum(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(sum(std::string(32, '\xFF')), 0x62A8AB43U);
}

TEST(Crc32c, ContinuesAcrossPieces) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  const std::uint32_t whole = sum(text);
  for (const std::size_t cut : {0U, 1U, 7U, 8U, 9U, 500U, 999U, 1000U}) {
    EXPECT_EQ(sum(text.substr(cut), sum(text.substr(0, cut))), whole) << cut;
  }
}

TEST(Crc32c, SeesEverySingleBit) {
  std::string text = "the quick brown fox";
  const std::uint32_t before = sum(text);
  for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(sum(text), before) << bit;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
  }
}

}  // namespace
}  // namespace primus::checkpoint
