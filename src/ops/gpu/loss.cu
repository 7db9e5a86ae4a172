#include <cfloat>

#if !defined(PRIMUS_HIP)
#include <cooperative_groups.h>
#endif

#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

/// Softmax cross entropy. A row of logits (600 KB for a vocabulary of 151,936 in f32) does not fit a multiprocessor,
/// and reading it twice from memory would cost a third more time. So a row is shared by a cluster of blocks, each of
/// which keeps its part in shared memory between the reading and the writing; the blocks exchange their parts' sums.
/// Where there are no clusters, or the vocabulary is larger still, what does not fit is read again.
namespace primus::ops::gpu {
namespace {

constexpr int kThreads = 512;
constexpr int kMaxClusterBlocks = 8;  // the most that every device with clusters allows

#if !defined(PRIMUS_HIP) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900)
/// The blocks that share a row.
struct Cluster {
  __device__ static int rank() { return static_cast<int>(cooperative_groups::this_cluster().block_rank()); }
  __device__ static void synchronize() { cooperative_groups::this_cluster().sync(); }
  /// Another block's copy of a shared variable.
  template <typename V>
  __device__ static V of_rank(V& shared, int rank) {
    return *cooperative_groups::this_cluster().map_shared_rank(&shared, rank);
  }
};
#else
struct Cluster {
  __device__ static int rank() { return 0; }
  __device__ static void synchronize() { __syncthreads(); }
  template <typename V>
  __device__ static V of_rank(V& shared, int) {
    return shared;
  }
};
#endif

/// Σ exp(x − highest) over some logits. exp is the fast one: its error, |x − highest| · 2^-24 relative, is that of the
/// difference itself.
struct ExpSum {
  float highest = -FLT_MAX;
  float sum = 0.0F;

  template <int kWidth>
  __device__ __forceinline__ void add(const Floats<kWidth>& logits) {
    float peak = highest;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) peak = fmaxf(peak, logits[e]);
    if (peak > highest) {
      sum *= __expf(highest - peak);
      highest = peak;
    }
#pragma unroll
    for (int e = 0; e < kWidth; ++e) sum += __expf(logits[e] - highest);
  }

  __device__ __forceinline__ void add(const ExpSum& other) {
    const float peak = fmaxf(highest, other.highest);
    sum = sum * __expf(highest - peak) + other.sum * __expf(other.highest - peak);
    highest = peak;
  }
};

/// The sum over the block's threads in a fixed order, for each of them.
__device__ ExpSum sum_of_block(ExpSum own) {
  __shared__ float highest[kThreads / kWarpSize], sum[kThreads / kWarpSize];
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    ExpSum other;
    other.highest = shuffle_xor(own.highest, distance);
    other.sum = shuffle_xor(own.sum, distance);
    own.add(other);
  }
  if (threadIdx.x % kWarpSize == 0) {
    highest[threadIdx.x / kWarpSize] = own.highest;
    sum[threadIdx.x / kWarpSize] = own.sum;
  }
  __syncthreads();
  ExpSum total;
  for (int warp = 0; warp < kThreads / kWarpSize; ++warp) {
    ExpSum part;
    part.highest = highest[warp];
    part.sum = sum[warp];
    total.add(part);
  }
  return total;
}

/// The sum over the `blocks` of a row, for each thread of all of them.
__device__ ExpSum sum_of_row(const ExpSum& own, int blocks) {
  __shared__ float part[2], whole[2];
  ExpSum total = sum_of_block(own);
  if (blocks == 1) return total;
  if (threadIdx.x == 0) {
    part[0] = total.highest;
    part[1] = total.sum;
  }
  Cluster::synchronize();
  if (threadIdx.x == 0) {
    total = {};
    for (int rank = 0; rank < blocks; ++rank) {
      ExpSum other;
      other.highest = Cluster::of_rank(part[0], rank);
      other.sum = Cluster::of_rank(part[1], rank);
      total.add(other);
    }
    whole[0] = total.highest;
    whole[1] = total.sum;
  }
  Cluster::synchronize();  // also so that no block ends while others read what it shares
  total.highest = whole[0];
  total.sum = whole[1];
  return total;
}

template <typename L, typename D>
struct CrossEntropy {
  Rows<const L> logits;
  const std::int32_t* targets;
  float* loss;
  Rows<D> d_logits;        // may be the logits
  float scale;             // of the gradient
  const StepState* state;  // for the loss scale
  Index columns;
  int blocks;  // of a row
  int kept;    // packs that a block keeps in shared memory
};

template <typename L, typename D, int kWidth, bool kGradient>
__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(CrossEntropy<L, D> args) {
  constexpr int kAhead = 4;  // packs that a thread reads at a time
  extern __shared__ __align__(kAccessBytes) unsigned char room[];
  auto* kept = reinterpret_cast<Pack<L, kWidth>*>(room);

  const int rank = args.blocks == 1 ? 0 : Cluster::rank();
  const Index row = blockIdx.x / args.blocks, packs = args.columns / kWidth;
  const Index begin = packs * rank / args.blocks;
  const int count = static_cast<int>(packs * (rank + 1) / args.blocks - begin);
  const L* logits = args.logits.at(row, begin * kWidth);
  const Index target = args.targets[row];
  const float target_logit = to_float(*args.logits.at(row, target));

  ExpSum own;
  for (int first = static_cast<int>(threadIdx.x); first < count; first += kAhead * kThreads) {
    Pack<L, kWidth> ahead[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int pack = first + i * kThreads;
      if (pack < count) ahead[i] = load_pack<kWidth>(logits + static_cast<Index>(pack) * kWidth);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int pack = first + i * kThreads;
      if (pack >= count) continue;
      if (kGradient && pack < args.kept) kept[pack] = ahead[i];
      own.add(unpacked(ahead[i]));
    }
  }
  const ExpSum total = sum_of_row(own, args.blocks);
  if (rank == 0 && threadIdx.x == 0) args.loss[row] = logf(total.sum) + (total.highest - target_logit);

  if constexpr (kGradient) {
    const float scale = static_cast<float>(static_cast<double>(args.scale) * args.state->loss_scale);
    const float factor = scale / total.sum;
    D* d_logits = args.d_logits.at(row, begin * kWidth);
    for (int pack = static_cast<int>(threadIdx.x); pack < count; pack += kThreads) {
      const Index column = static_cast<Index>(pack) * kWidth;
      auto values = unpacked(pack < args.kept ? kept[pack] : load_pack<kWidth>(logits + column));
#pragma unroll
      for (int e = 0; e < kWidth; ++e) values[e] = __expf(values[e] - total.highest) * factor;
      store(d_logits + column, values);
    }
    // the thread that wrote the target's pack corrects it
    const Index own_target = target / kWidth - begin;
    if (own_target >= 0 && own_target < count && own_target % kThreads == threadIdx.x) {
      const float probability = __expf(target_logit - total.highest) / total.sum;
      *args.d_logits.at(row, target) = from_float<D>((probability - 1.0F) * scale);
    }
  }
}

/// Blocks for a row, and the shared memory that each of them keeps logits in.
struct Split {
  int blocks;
  std::size_t kept_bytes;
};

Split split_of(const Stream& stream, Index rows, Index row_bytes, bool keeps) {
  const DeviceLimits& limits = limits_of(stream);
  const bool has_clusters = stream.device().type == DeviceType::kCuda && limits.compute_capability >= 90;
  // three blocks a multiprocessor: while one writes, others read
  const Index room = static_cast<Index>(limits.shared_memory_per_block / 3 - 1024);
  int blocks = 1;
  while (has_clusters && blocks < kMaxClusterBlocks &&
         ((keeps && row_bytes > blocks * room) || rows * blocks < 4 * limits.multiprocessors)) {
    blocks *= 2;
  }
  const Index most = static_cast<Index>(limits.shared_memory_per_block) - 1024;
  const Index part = divide_up(row_bytes, Index{blocks}) + kAccessBytes;
  const Index kept = part <= room ? part : std::min(part, has_clusters ? most : room);
  return {blocks, keeps ? static_cast<std::size_t>(kept) : 0};
}

template <typename L, typename D, int kWidth, bool kGradient>
void launch(Stream& stream, const char* name, CrossEntropy<L, D> args, Index rows) {
  const auto kernel = cross_entropy_kernel<L, D, kWidth, kGradient>;
  const Split split = split_of(stream, rows, args.columns * static_cast<Index>(sizeof(L)), kGradient);
  args.blocks = split.blocks;
  args.kept = static_cast<int>(split.kept_bytes / sizeof(Pack<L, kWidth>));
  const auto grid = static_cast<unsigned>(rows * split.blocks);
  GPU_CHECK(gpuFuncSetAttribute(reinterpret_cast<const void*>(kernel), gpuFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(split.kept_bytes)));
#if defined(PRIMUS_HIP)
  kernel<<<grid, kThreads, split.kept_bytes, stream_of(stream)>>>(args);
#else
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(split.blocks), 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = kThreads;
  config.dynamicSmemBytes = split.kept_bytes;
  config.stream = stream_of(stream);
  config.attrs = &cluster;
  config.numAttrs = split.blocks > 1 ? 1 : 0;
  GPU_CHECK(cudaLaunchKernelEx(&config, kernel, args));
#endif
  GPU_LAUNCH_CHECK(stream, name);
}

template <typename L, typename D, bool kGradient>
void cross_entropy(Stream& stream, const char* name, const CrossEntropyForwardBackward& args) {
  const Tensor& logits = args.logits;
  const CrossEntropy<L, D> kernel_args = {.logits = rows_of<const L>(logits),
                                          .targets = elements_of<const std::int32_t>(args.targets),
                                          .loss = elements_of<float>(args.loss),
                                          .d_logits = rows_of<D>(args.d_logits),
                                          .scale = args.scale,
                                          .state = static_cast<const StepState*>(args.state.data()),
                                          .columns = logits.columns(),
                                          .blocks = 1,
                                          .kept = 0};
  with_pack_width<L>([&](auto width) { launch<L, D, width, kGradient>(stream, name, kernel_args, logits.rows()); },
                     logits, args.d_logits);
}

}  // namespace

void cross_entropy_forward(Stream& stream, const CrossEntropyForward& args) {
  with_element_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    cross_entropy<T, T, false>(stream, "cross_entropy_forward",
                               {.logits = args.logits, .targets = args.targets, .loss = args.loss});
  });
}

void cross_entropy_forward_backward(Stream& stream, const CrossEntropyForwardBackward& args) {
  with_element_type(args.d_logits.dtype(), [&](auto type) {
    using T = decltype(type);
    if (args.logits.dtype() == args.d_logits.dtype()) {
      cross_entropy<T, T, true>(stream, "cross_entropy_forward_backward", args);
    } else {
      cross_entropy<float, T, true>(stream, "cross_entropy_forward_backward", args);
    }
  });
}

}  // namespace primus::ops::gpu
