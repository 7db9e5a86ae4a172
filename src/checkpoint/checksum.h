#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace primus::checkpoint {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4). `previous` continues an earlier sum: crc32c(b, crc32c(a)) is that of a
/// then b. Detects every change of up to 32 bits in a row.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);

}  // namespace primus::checkpoint
