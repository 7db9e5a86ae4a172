#include "ops/gpu/flash_single_pass.cuh"
#include "ops/gpu/tensor_map.h"

namespace primus::ops::gpu {
namespace flash::single_pass {
namespace {

/// Boxes of `rows` tokens and 64 columns, swizzled as PanelTile.
template <typename T>
CUtensorMap map_of(const Rows<const T>& matrix, std::int64_t tokens, std::int64_t columns, int rows) {
  const auto type = std::is_same_v<T, F16> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  return tensor_map({.type = type,
                     .data = const_cast<T*>(matrix.data),
                     .rows = tokens,
                     .columns = columns,
                     .row_bytes = matrix.stride * std::int64_t{sizeof(T)},
                     .box_rows = rows,
                     .box_columns = 64,
                     .swizzle = CU_TENSOR_MAP_SWIZZLE_128B});
}

/// Boxes of the statistics of a tile of queries; zeros behind the last head's.
CUtensorMap map_of(QueryStatistics* statistics, std::int64_t rows) {
  constexpr int kBytes = sizeof(QueryStatistics), kColumns = kBytes / static_cast<int>(sizeof(float));
  return tensor_map({.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
                     .data = statistics,
                     .rows = rows,
                     .columns = kColumns,
                     .row_bytes = kBytes,
                     .box_rows = kQueries,
                     .box_columns = kColumns,
                     .swizzle = CU_TENSOR_MAP_SWIZZLE_NONE});
}

/// Half the query heads a block, where each has still two or there are few blocks: they are shared out more evenly, but
/// there are more beginnings and ends.
int split_of(const FlashShape& shape, int key_tiles) {
  constexpr int kFewBlocks = 256;
  const int group = shape.group.size();
  return group >= 4 || (group > 1 && key_tiles * shape.kv_heads < kFewBlocks) ? 2 : 1;
}

template <typename T>
SinglePass<T> arguments(const FlashBackward<T>& backward, bool by_head, void* workspace) {
  const FlashShape& shape = backward.shape;
  const std::int64_t heads = std::int64_t{shape.kv_heads} * shape.group.size(), tokens = shape.tokens;
  const int key_tiles = static_cast<int>(most_tiles(shape, 1, kKeys));
  const QuerySums sums = {static_cast<float*>(workspace), tokens};
  auto* const statistics = reinterpret_cast<QueryStatistics*>(sums.data + heads * tokens * kDim);
  return {.q = map_of(backward.q, tokens, heads * kDim, kQueries),
          .k = map_of(backward.k, tokens, std::int64_t{shape.kv_heads} * kDim, kKeys),
          .v = map_of(backward.v, tokens, std::int64_t{shape.kv_heads} * kDim, kKeys),
          .d_out = map_of(backward.d_out, tokens, heads * kDim, kQueries),
          .statistics_map = map_of(statistics, heads * tokens),
          .backward = backward,
          .statistics = statistics,
          .d_q = sums,
          .key_tiles = key_tiles,
          .split = split_of(shape, key_tiles),
          .by_head = by_head};
}

/// Blocks of a kernel that goes by rows.
dim3 row_blocks(std::int64_t heads, std::int64_t tokens) {
  return dim3(static_cast<unsigned>(heads), static_cast<unsigned>(divide_up(tokens, kRowsOfBlock)));
}

template <typename T>
void launch_backward(gpuStream_t stream, const SinglePass<T>& args) {
  const auto kernel = backward_kernel<T>;
  GPU_CHECK(gpuFuncSetAttribute(reinterpret_cast<const void*>(kernel), gpuFuncAttributeMaxDynamicSharedMemorySize,
                                Layout::kBytes));
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(args.split), 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(args.key_tiles * args.backward.shape.kv_heads * args.split));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = Layout::kBytes;
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  GPU_CHECK(cudaLaunchKernelEx(&config, kernel, args));
}

}  // namespace
}  // namespace flash::single_pass

template <typename T>
QuerySums flash_single_pass_backward(gpuStream_t stream, const FlashBackward<T>& args, bool by_head, void* workspace) {
  namespace pass = flash::single_pass;
  const auto all = pass::arguments(args, by_head, workspace);
  const dim3 blocks = pass::row_blocks(std::int64_t{args.shape.kv_heads} * args.shape.group.size(), args.shape.tokens);
  pass::prepare_kernel<<<blocks, pass::kRowThreads, 0, stream>>>(all);
  pass::launch_backward(stream, all);
  return all.d_q;
}
template QuerySums flash_single_pass_backward(gpuStream_t, const FlashBackward<F16>&, bool, void*);
template QuerySums flash_single_pass_backward(gpuStream_t, const FlashBackward<BF16>&, bool, void*);

template <typename T>
void round_query_sums(gpuStream_t stream, const QuerySums& sums, int heads, const Rows<T>& d_q) {
  namespace pass = flash::single_pass;
  pass::round_kernel<<<pass::row_blocks(heads, sums.tokens), pass::kRowThreads, 0, stream>>>(sums, d_q);
}
template void round_query_sums(gpuStream_t, const QuerySums&, int, const Rows<F16>&);
template void round_query_sums(gpuStream_t, const QuerySums&, int, const Rows<BF16>&);

std::size_t flash_single_pass_workspace(int heads, std::int64_t tokens) {
  constexpr std::size_t kRowBytes = kSinglePassHeadDim * sizeof(float) + sizeof(flash::QueryStatistics);
  return static_cast<std::size_t>(heads) * static_cast<std::size_t>(tokens) * kRowBytes;
}

}  // namespace primus::ops::gpu
