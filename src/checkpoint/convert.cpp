#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "checkpoint/parallel.h"
#include "checkpoint/transfer.h"
#include "tensor/float16.h"

namespace primus::checkpoint {
namespace {

/// Elements that pass through aligned buffers at a time: in the first-level cache, and loops that the compiler
/// vectorizes.
constexpr std::int64_t kBlock = 2048;

void to_float(const BFloat16* in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(in[i].bits) << 16);
  }
}
void to_float(const Float16* in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]);
}
void from_float(const float* in, BFloat16* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = BFloat16(in[i]);
}
void from_float(const float* in, Float16* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = Float16(in[i]);
}

bool has_overflow(const float* in, const Float16* out, std::int64_t count) {
  constexpr std::uint16_t kInfinity = 0x7C00;
  bool overflow = false;
  for (std::int64_t i = 0; i < count; ++i) {
    overflow |= (out[i].bits & 0x7FFFU) == kInfinity && std::isfinite(in[i]);
  }
  return overflow;
}

/// The range [begin, end) through f32; false when a finite value left f16's range.
bool convert_range(const std::byte* source, DType source_dtype, std::byte* target, DType target_dtype,
                   std::int64_t begin, std::int64_t end) {
  std::array<float, kBlock> wide;
  std::array<std::uint16_t, kBlock> narrow;
  bool fits = true;
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t count = std::min(kBlock, end - at);
    const std::byte* from = source + static_cast<std::size_t>(at) * size_of(source_dtype);
    std::byte* to = target + static_cast<std::size_t>(at) * size_of(target_dtype);
    const std::size_t in_bytes = static_cast<std::size_t>(count) * size_of(source_dtype);
    const std::size_t out_bytes = static_cast<std::size_t>(count) * size_of(target_dtype);
    if (source_dtype == DType::kF32) {
      std::memcpy(wide.data(), from, in_bytes);
    } else if (source_dtype == DType::kBF16) {
      std::memcpy(narrow.data(), from, in_bytes);
      to_float(reinterpret_cast<const BFloat16*>(narrow.data()), wide.data(), count);
    } else {
      std::memcpy(narrow.data(), from, in_bytes);
      to_float(reinterpret_cast<const Float16*>(narrow.data()), wide.data(), count);
    }
    if (target_dtype == DType::kF32) {
      std::memcpy(to, wide.data(), out_bytes);
    } else if (target_dtype == DType::kBF16) {
      from_float(wide.data(), reinterpret_cast<BFloat16*>(narrow.data()), count);
      std::memcpy(to, narrow.data(), out_bytes);
    } else {
      auto* halves = reinterpret_cast<Float16*>(narrow.data());
      from_float(wide.data(), halves, count);
      fits = fits && !has_overflow(wide.data(), halves, count);
      std::memcpy(to, narrow.data(), out_bytes);
    }
  }
  return fits;
}

bool is_convertible(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

}  // namespace

bool convert_elements(const std::byte* source, DType source_dtype, std::byte* target, DType target_dtype,
                      std::int64_t count) {
  PRIMUS_CHECK(is_convertible(source_dtype) && is_convertible(target_dtype), name_of(source_dtype),
               name_of(target_dtype));
  const auto source_element = static_cast<std::int64_t>(size_of(source_dtype));
  std::atomic<bool> fits = true;
  parallel_ranges(
      count, count * source_element,
      [&](std::int64_t begin, std::int64_t end) {
        if (source_dtype == target_dtype) {
          const auto offset = static_cast<std::size_t>(begin * source_element);
          std::memcpy(target + offset, source + offset, static_cast<std::size_t>((end - begin) * source_element));
        } else if (!convert_range(source, source_dtype, target, target_dtype, begin, end)) {
          fits = false;
        }
      },
      kBlock);
  return fits;
}

}  // namespace primus::checkpoint
