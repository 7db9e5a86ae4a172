#include "ops/gpu/flash_single_pass.cuh"

namespace primus::ops::gpu {
namespace flash::single_pass {
namespace {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found once: nothing is linked with the driver.
EncodeTiled encode_tiled() {
  static const EncodeTiled found = [] {
    void* function = nullptr;
    auto result = cudaDriverEntryPointSymbolNotFound;
    constexpr unsigned kSinceVersion = 12000;
    GPU_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSinceVersion, cudaEnableDefault,
                                               &result));
    PRIMUS_CHECK(result == cudaDriverEntryPointSuccess, static_cast<int>(result));
    return reinterpret_cast<EncodeTiled>(function);
  }();
  return found;
}

/// Boxes of `rows` rows and 64 columns, swizzled as PanelTile.
template <typename T>
CUtensorMap tensor_map(const Rows<const T>& matrix, std::int64_t tokens, std::int64_t columns, int rows) {
  const auto type = std::is_same_v<T, F16> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(tokens)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(matrix.stride) * sizeof(T)};
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(rows)}, steps[] = {1, 1};
  CUtensorMap map;
  const CUresult result = encode_tiled()(&map, type, 2, const_cast<T*>(matrix.data), sizes, strides, box, steps,
                                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  PRIMUS_CHECK(result == CUDA_SUCCESS, static_cast<int>(result), matrix.stride);
  return map;
}

/// Half the query heads a block, where each has still two or there are few blocks: they are shared out more evenly, but
/// there are more beginnings and ends.
int split_of(const FlashShape& shape, int key_tiles) {
  constexpr int kFewBlocks = 256;
  const int group = shape.group.size();
  return group >= 4 || (group > 1 && key_tiles * shape.kv_heads < kFewBlocks) ? 2 : 1;
}

template <typename T>
SinglePass<T> arguments(const FlashBackward<T>& backward, void* workspace) {
  const FlashShape& shape = backward.shape;
  const std::int64_t heads = std::int64_t{shape.kv_heads} * shape.group.size();
  const int key_tiles = static_cast<int>(most_tiles(shape, 1, kKeys));
  auto* const sums = static_cast<float*>(workspace);
  float* const statistics = sums + heads * shape.tokens * kDim;
  return {.q = tensor_map(backward.q, shape.tokens, heads * kDim, kQueries),
          .k = tensor_map(backward.k, shape.tokens, std::int64_t{shape.kv_heads} * kDim, kKeys),
          .v = tensor_map(backward.v, shape.tokens, std::int64_t{shape.kv_heads} * kDim, kKeys),
          .d_out = tensor_map(backward.d_out, shape.tokens, heads * kDim, kQueries),
          .backward = backward,
          .negative_lse = statistics,
          .negative_delta = statistics + heads * shape.tokens,
          .d_q = {sums, shape.tokens},
          .key_tiles = key_tiles,
          .split = split_of(shape, key_tiles)};
}

/// A block for so many tokens of each query head.
dim3 row_blocks(const FlashShape& shape, int tokens) {
  return dim3(static_cast<unsigned>(shape.kv_heads * shape.group.size()),
              static_cast<unsigned>((shape.tokens + tokens - 1) / tokens));
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
void flash_single_pass_backward(gpuStream_t stream, const FlashBackward<T>& args, void* workspace) {
  namespace pass = flash::single_pass;
  const auto all = pass::arguments(args, workspace);
  pass::prepare_kernel<<<pass::row_blocks(args.shape, pass::kPrepareTokens), pass::kRowThreads, 0, stream>>>(all);
  pass::launch_backward(stream, all);
  pass::finish_kernel<<<pass::row_blocks(args.shape, pass::kFinishTokens), pass::kRowThreads, 0, stream>>>(all);
}
template void flash_single_pass_backward(gpuStream_t, const FlashBackward<F16>&, void*);
template void flash_single_pass_backward(gpuStream_t, const FlashBackward<BF16>&, void*);

std::size_t flash_single_pass_workspace(int heads, std::int64_t tokens) {
  constexpr std::size_t kRowBytes = (kSinglePassHeadDim + 2) * sizeof(float);  // sums and statistics
  return static_cast<std::size_t>(heads) * static_cast<std::size_t>(tokens) * kRowBytes;
}

}  // namespace primus::ops::gpu
