#include "checkpoint/checksum.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace primus::checkpoint {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78U;  // Castagnoli's, bits reversed
constexpr std::size_t kSlices = 8;

using Tables = std::array<std::array<std::uint32_t, 256>, kSlices>;

/// tables[k][b]: the sum of byte b followed by k zero bytes, so that eight bytes take eight look-ups at once.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1U) != 0 ? kPolynomial : 0U);
    tables[0][byte] = sum;
  }
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (std::size_t k = 1; k < kSlices; ++k) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFFU];
    }
  }
  return tables;
}
constexpr Tables kTables = make_tables();

std::uint32_t by_table(const std::byte* at, std::size_t size, std::uint32_t sum) {
  for (; size >= kSlices; at += kSlices, size -= kSlices) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    word ^= sum;
    sum = 0;
    for (std::size_t k = 0; k < kSlices; ++k) sum ^= kTables[kSlices - 1 - k][(word >> (8 * k)) & 0xFFU];
  }
  for (; size > 0; ++at, --size) sum = (sum >> 8) ^ kTables[0][(sum ^ std::to_integer<std::uint32_t>(*at)) & 0xFFU];
  return sum;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const std::byte* at, std::size_t size,
                                                               std::uint32_t sum) {
  std::uint64_t wide = sum;
  for (; size >= 8; at += 8, size -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    wide = _mm_crc32_u64(wide, word);
  }
  return by_table(at, size, static_cast<std::uint32_t>(wide));
}
#endif

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) {
  const std::uint32_t start = ~previous;
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return ~by_instruction(bytes.data(), bytes.size(), start);
#endif
  return ~by_table(bytes.data(), bytes.size(), start);
}

}  // namespace primus::checkpoint
