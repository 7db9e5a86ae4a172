#pragma once

#include <cstdint>

#include "ops/gpu/async_copy.cuh"
#include "ops/gpu/flash.cuh"

/// What the flash-attention kernels share: finding their work, and where its rows lie.
namespace primus::ops::gpu::flash {

constexpr float kLn2 = 0.6931471805599453F;

template <typename T>
__device__ T shuffle(T value, int lane) {
#if defined(PRIMUS_HIP)
  return __shfl(value, lane);
#else
  return __shfl_sync(0xFFFFFFFFU, value, lane);
#endif
}

template <typename T>
__device__ T shuffle_up(T value, int lanes) {
#if defined(PRIMUS_HIP)
  return __shfl_up(value, lanes);
#else
  return __shfl_up_sync(0xFFFFFFFFU, value, lanes);
#endif
}

/// A document, and where in its rows a block's tile begins.
struct Place {
  int first_token;  // of the document
  int length;       // of the document, in tokens; 0: there is no such tile
  int first_row;    // of the tile, in the document
};

/// The tile `index` of all the documents' tiles, a document of n tokens having n · rows_per_token rows in tiles of
/// tile_rows. All lanes of a warp take part.
__device__ inline Place find_tile(const FlashShape& shape, int rows_per_token, int tile_rows, int index) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int base = 0; base < shape.documents; base += kWarpSize) {
    const bool exists = base + lane < shape.documents;
    const int first = exists ? shape.cu_seqlens[base + lane] : 0;
    const int length = exists ? shape.cu_seqlens[base + lane + 1] - first : 0;
    const int tiles = (length * rows_per_token + tile_rows - 1) / tile_rows;
    int end = tiles;  // of this document's tiles, counted from document `base`
    for (int step = 1; step < kWarpSize; step *= 2) {
      const int before = shuffle_up(end, step);
      if (lane >= step) end += before;
    }
    // the last lane knows how many there are; the first whose end lies behind `index` has the tile
    int lower = 0;
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      if (shuffle(end, lower + step - 1) <= index) lower += step;
    }
    const int owner_end = shuffle(end, lower);
    if (index < owner_end) {
      const int begin = owner_end - shuffle(tiles, lower);
      return {shuffle(first, lower), shuffle(length, lower), (index - begin) * tile_rows};
    }
    index -= shuffle(end, kWarpSize - 1);
  }
  return {0, 0, 0};
}

/// The most tiles that find_tile can find.
inline std::int64_t most_tiles(const FlashShape& shape, int rows_per_token, int tile_rows) {
  return shape.tokens * rows_per_token / tile_rows + shape.documents;
}

/// The rows of one document and one key/value head in a matrix: row r is token r / group, head r % group.
template <typename T>
struct HeadRows {
  T* first;
  std::int64_t stride;  // from a token to the next
  QueryGroup group;
  int head_dim;
  int count;

  __device__ HeadRows(const Rows<T>& matrix, const Place& place, int kv_head, QueryGroup of, int dim)
      : first(matrix.data + place.first_token * matrix.stride + static_cast<std::int64_t>(kv_head) * of.size() * dim),
        stride(matrix.stride),
        group(of),
        head_dim(dim),
        count(place.length * of.size()) {}

  __device__ T* at(int row) const { return first + group.token(row) * stride + group.head(row) * head_dim; }
};

/// Where the statistics of such a row are in a (heads, tokens) matrix.
struct RowStatistics {
  std::int64_t first;
  std::int64_t stride;
  QueryGroup group;

  __device__ RowStatistics(std::int64_t head_stride, const Place& place, int kv_head, QueryGroup of)
      : first(static_cast<std::int64_t>(kv_head) * of.size() * head_stride + place.first_token),
        stride(head_stride),
        group(of) {}

  __device__ std::int64_t at(int row) const { return first + group.token(row) + group.head(row) * stride; }
};

}  // namespace primus::ops::gpu::flash
