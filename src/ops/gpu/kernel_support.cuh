#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#if defined(PRIMUS_HIP)
#include <hip/hip_fp16.h>
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "tensor/tensor.h"

/// What the kernels share: element types, accesses of up to 16 bytes, reductions in a fixed order, launch sizes.
/// Arithmetic is f32; a kernel is compiled for packs of elements that fill 16 bytes, and for single elements where an
/// address, a row stride or a length does not allow packs.
namespace primus::ops::gpu {

using Index = std::int64_t;

#if defined(PRIMUS_HIP)
constexpr int kWarpSize = 64;  // CDNA
#else
constexpr int kWarpSize = 32;
#endif
constexpr int kAccessBytes = 16;

// Elements -------------------------------------------------------------------------------------------------------

struct BF16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(BF16 value) {
  return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16);
}
__device__ __forceinline__ float to_float(F16 value) { return __half2float(__ushort_as_half(value.bits)); }

/// Rounds to nearest, ties to even.
template <typename T>
__device__ __forceinline__ T from_float(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else if constexpr (std::is_same_v<T, F16>) {
    return {__half_as_ushort(__float2half_rn(value))};
  } else {
#if defined(PRIMUS_HIP)
    const std::uint32_t word = __float_as_uint(value);
    const bool is_nan = (word & 0x7FFFFFFFU) > 0x7F800000U;
    const std::uint32_t rounded = (word + 0x7FFFU + ((word >> 16) & 1U)) >> 16;
    return {static_cast<std::uint16_t>(is_nan ? ((word >> 16) | 0x40U) : rounded)};
#else
    return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#endif
  }
}

/// What `value` becomes when it is stored as T.
template <typename T>
__device__ __forceinline__ float rounded_to(float value) {
  return to_float(from_float<T>(value));
}

constexpr float kLog2E = 1.4426950408889634F;

/// 2ˣ with a relative error of about 2^-22, no denormals.
__device__ __forceinline__ float fast_exp2(float x) {
#if defined(PRIMUS_HIP)
  return __builtin_amdgcn_exp2f(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}
/// exp with a relative error of about |x| · 2^-23, no denormals.
__device__ __forceinline__ float fast_exp(float x) { return fast_exp2(x * kLog2E); }

// Packs ----------------------------------------------------------------------------------------------------------

constexpr int alignment_of_pack(int bytes) { return bytes < kAccessBytes ? bytes : kAccessBytes; }

/// Adjacent elements in memory; its loads and stores are as wide as its alignment.
template <typename T, int kWidth>
struct alignas(alignment_of_pack(kWidth* static_cast<int>(sizeof(T)))) Pack {
  T values[kWidth];
};

/// Elements as they are computed with.
template <int kWidth>
struct Floats {
  float values[kWidth];

  __device__ __forceinline__ float& operator[](int i) { return values[i]; }
  __device__ __forceinline__ float operator[](int i) const { return values[i]; }
};

/// Two adjacent elements of 16 bits, which the device converts and multiplies at once.
struct Pair {
  std::uint32_t bits;
};

__device__ __forceinline__ float2 to_floats(Pair pair, BF16) {
  return {__uint_as_float(pair.bits << 16), __uint_as_float(pair.bits & 0xFFFF0000U)};
}
__device__ __forceinline__ float2 to_floats(Pair pair, F16) {
  return {to_float(F16{static_cast<std::uint16_t>(pair.bits)}),
          to_float(F16{static_cast<std::uint16_t>(pair.bits >> 16)})};
}

#if defined(PRIMUS_HIP)
template <typename T>
__device__ __forceinline__ Pair pair_of(float low, float high, T) {
  return {from_float<T>(low).bits | static_cast<std::uint32_t>(from_float<T>(high).bits) << 16};
}
template <typename T>
__device__ __forceinline__ Pair product(Pair a, Pair b, T type) {
  const float2 x = to_floats(a, type), y = to_floats(b, type);
  return pair_of(x.x * y.x, x.y * y.y, type);
}
#else
template <typename Native>
__device__ __forceinline__ Pair bits_of(const Native& native) {
  static_assert(sizeof(Native) == sizeof(Pair));
  return *reinterpret_cast<const Pair*>(&native);
}
template <typename Native>
__device__ __forceinline__ Native native(Pair pair) {
  return *reinterpret_cast<const Native*>(&pair);
}
__device__ __forceinline__ Pair pair_of(float low, float high, BF16) {
  return bits_of(__floats2bfloat162_rn(low, high));
}
__device__ __forceinline__ Pair pair_of(float low, float high, F16) { return bits_of(__floats2half2_rn(low, high)); }
__device__ __forceinline__ Pair product(Pair a, Pair b, BF16) {
  return bits_of(__hmul2(native<__nv_bfloat162>(a), native<__nv_bfloat162>(b)));
}
__device__ __forceinline__ Pair product(Pair a, Pair b, F16) {
  return bits_of(__hmul2(native<__half2>(a), native<__half2>(b)));
}
#endif

template <typename T, int kWidth>
constexpr bool kHasPairs = sizeof(T) == 2 && kWidth % 2 == 0;

/// Elements 2·i and 2·i + 1.
template <typename T, int kWidth>
__device__ __forceinline__ Pair pair_at(const Pack<T, kWidth>& pack, int i) {
  Pair pair;
  __builtin_memcpy(&pair, pack.values + 2 * i, sizeof pair);
  return pair;
}
template <typename T, int kWidth>
__device__ __forceinline__ void set_pair(Pack<T, kWidth>& pack, int i, Pair pair) {
  __builtin_memcpy(pack.values + 2 * i, &pair, sizeof pair);
}

template <int kWidth, typename T>
__device__ __forceinline__ Floats<kWidth> unpacked(const Pack<T, kWidth>& pack) {
  Floats<kWidth> floats;
  if constexpr (kHasPairs<T, kWidth>) {
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) {
      const float2 both = to_floats(pair_at(pack, i), T{});
      floats[2 * i] = both.x;
      floats[2 * i + 1] = both.y;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) floats[i] = to_float(pack.values[i]);
  }
  return floats;
}

template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> packed(const Floats<kWidth>& floats) {
  Pack<T, kWidth> pack;
  if constexpr (kHasPairs<T, kWidth>) {
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) set_pair(pack, i, pair_of(floats[2 * i], floats[2 * i + 1], T{}));
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) pack.values[i] = from_float<T>(floats[i]);
  }
  return pack;
}

/// a · b, rounded once to T, as the f32 product of 16-bit elements is exact.
template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> product(const Pack<T, kWidth>& a, const Pack<T, kWidth>& b) {
  Pack<T, kWidth> pack;
  if constexpr (kHasPairs<T, kWidth>) {
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) set_pair(pack, i, product(pair_at(a, i), pair_at(b, i), T{}));
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) pack.values[i] = from_float<T>(to_float(a.values[i]) * to_float(b.values[i]));
  }
  return pack;
}

template <int kWidth, typename T>
__device__ __forceinline__ Pack<T, kWidth> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, kWidth>*>(from);
}

template <int kWidth, typename T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, kWidth>& pack) {
  *reinterpret_cast<Pack<T, kWidth>*>(to) = pack;
}

template <int kWidth, typename T>
__device__ __forceinline__ Floats<kWidth> load(const T* from) {
  return unpacked(load_pack<kWidth>(from));
}

template <int kWidth, typename T>
__device__ __forceinline__ void store(T* to, const Floats<kWidth>& floats) {
  store_pack(to, packed<T>(floats));
}

template <typename T>
constexpr int kPackWidth = kAccessBytes / static_cast<int>(sizeof(T));

/// Whether the rows of all these tensors (empty ones aside) can be accessed in packs of `width` elements.
template <typename... Tensors>
bool packs_fit(int width, const Tensors&... tensors) {
  const auto fits = [width](const Tensor& tensor) {
    if (tensor.empty()) return true;
    const auto bytes = static_cast<std::size_t>(alignment_of_pack(width * static_cast<int>(size_of(tensor.dtype()))));
    const bool rows_fit =
        tensor.rows() <= 1 || static_cast<std::size_t>(tensor.row_stride()) * size_of(tensor.dtype()) % bytes == 0;
    return rows_fit && tensor.columns() % width == 0 && reinterpret_cast<std::uintptr_t>(tensor.data()) % bytes == 0;
  };
  return (fits(tensors) && ...);
}

template <int kValue>
using Int = std::integral_constant<int, kValue>;

/// body(T{}) for the element type T.
template <typename Body>
void with_element_type(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF32:
      return body(float{});
    case DType::kBF16:
      return body(BF16{});
    case DType::kF16:
      return body(F16{});
    default:
      PRIMUS_CHECK(is_floating(dtype), name_of(dtype));
  }
}

/// The same for what gradients and states of the optimizer are kept in.
template <typename Body>
void with_state_type(DType dtype, const Body& body) {
  PRIMUS_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, name_of(dtype));
  if (dtype == DType::kF32) {
    body(float{});
  } else {
    body(BF16{});
  }
}

/// body(Int<width>{}): packs of T where they fit all tensors, else single elements.
template <typename T, typename Body, typename... Tensors>
void with_pack_width(const Body& body, const Tensors&... tensors) {
  if (packs_fit(kPackWidth<T>, tensors...)) {
    body(Int<kPackWidth<T>>{});
  } else {
    body(Int<1>{});
  }
}

// Views ----------------------------------------------------------------------------------------------------------

/// Rows of elements; a null address: not there.
template <typename T>
struct Rows {
  T* data;
  Index stride;

  __device__ __forceinline__ T* at(Index row, Index column) const { return data + row * stride + column; }
  __device__ __forceinline__ explicit operator bool() const { return data != nullptr; }
};

template <typename T>
Rows<T> rows_of(const Tensor& tensor) {
  return {static_cast<T*>(tensor.data()), tensor.row_stride()};
}

template <typename T>
T* elements_of(const Tensor& tensor) {
  return static_cast<T*>(tensor.data());
}

/// Where a gradient is kept, in f32 or bf16; a null address: not wanted.
struct GradientTarget {
  void* data = nullptr;
  bool is_f32 = true;

  GradientTarget() = default;
  explicit GradientTarget(const Tensor& gradient) : data(gradient.data()), is_f32(gradient.dtype() == DType::kF32) {}

  __device__ __forceinline__ void put(Index element, float value, bool accumulate) const {
    if (is_f32) {
      put(static_cast<float*>(data) + element, value, accumulate);
    } else {
      put(static_cast<BF16*>(data) + element, value, accumulate);
    }
  }

 private:
  template <typename T>
  __device__ __forceinline__ static void put(T* target, float value, bool accumulate) {
    *target = from_float<T>(accumulate ? to_float(*target) + value : value);
  }
};

// Reductions -----------------------------------------------------------------------------------------------------

template <typename V>
__device__ __forceinline__ V shuffle_xor(V value, int lanes) {
#if defined(PRIMUS_HIP)
  return __shfl_xor(value, lanes);
#else
  return __shfl_xor_sync(0xFFFFFFFFU, value, lanes);
#endif
}

/// Sum over groups of `lanes` (a power of two) adjacent threads of a warp, the same bits for each of them.
template <typename V>
__device__ __forceinline__ V lanes_sum(V value, int lanes = kWarpSize) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) value += shuffle_xor(value, distance);
  return value;
}

/// Sum over the block, whose size is a multiple of the warp's, the same bits for each thread.
template <typename V>
__device__ __forceinline__ V block_sum(V value) {
  __shared__ V sum_of_warp[1024 / kWarpSize];
  value = lanes_sum(value);
  __syncthreads();  // until the result of an earlier call has been read
  if (threadIdx.x % kWarpSize == 0) sum_of_warp[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  V sum = 0;
  for (int warp = 0; warp < blockDim.x / kWarpSize; ++warp) sum += sum_of_warp[warp];
  return sum;
}

// Launch sizes ---------------------------------------------------------------------------------------------------

constexpr int kBlockThreads = 256;
constexpr int kMaxGridRows = 65535;  // of a grid's second dimension

template <typename V>
constexpr V divide_up(V count, std::type_identity_t<V> size) {
  return (count + size - 1) / size;
}

/// Blocks of a kernel that the device runs at once: the grid of one whose threads step through their work.
template <typename Kernel>
Index resident_blocks(const Stream& stream, Kernel* kernel, int threads, std::size_t shared_bytes = 0) {
  int of_multiprocessor = 0;
  GPU_CHECK(gpuOccupancyMaxActiveBlocksPerMultiprocessor(&of_multiprocessor, kernel, threads, shared_bytes));
  return Index{limits_of(stream).multiprocessors} * of_multiprocessor;
}

/// body(row, column) with the first column of every pack of a matrix.
template <int kWidth, typename Body>
__global__ void for_each_pack_kernel(Index rows, Index columns, Body body) {
  const Index column = (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x) * kWidth;
  if (column >= columns) return;
  const Index step = static_cast<Index>(gridDim.y) * blockDim.y;
  for (Index row = static_cast<Index>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
    body(row, column);
  }
}

template <int kWidth, typename Body>
void for_each_pack(Stream& stream, const char* name, Index rows, Index columns, const Body& body) {
  const Index packs = divide_up(columns, kWidth);
  unsigned across = kBlockThreads;  // narrow rows share a block
  while (across / 2 >= packs) across /= 2;
  const dim3 block(across, kBlockThreads / across);
  const dim3 grid(static_cast<unsigned>(divide_up(packs, across)),
                  static_cast<unsigned>(std::min<Index>(divide_up(rows, block.y), kMaxGridRows)));
  for_each_pack_kernel<kWidth><<<grid, block, 0, stream_of(stream)>>>(rows, columns, body);
  GPU_LAUNCH_CHECK(stream, name);
}

}  // namespace primus::ops::gpu
