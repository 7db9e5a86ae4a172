#include <cfloat>

#if !defined(PRIMUS_HIP)
#include <cooperative_groups.h>
#endif

#include "ops/gpu/async_copy.cuh"
#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

/// Softmax cross entropy. A row of logits (600 KB for a vocabulary of 151,936 in f32) does not fit a multiprocessor,
/// and reading it twice from memory would cost two thirds more time. So a row is shared by a cluster of blocks that
/// exchange their sums, and each block keeps its part in shared memory from the reading to the writing. As soon as an
/// element of the gradient is written, the logit of the cluster's next row is fetched into its place, so that memory is
/// never idle. What does not fit (no clusters, or a larger vocabulary) is read again.
namespace primus::ops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxClusterBlocks = 8;  // the most that every device with clusters allows
constexpr int kAhead = 4;             // packs that a thread reads from memory at a time

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

/// Σ exp(x − highest) over some logits. exp is the fast one: its error is that of the difference x − highest itself.
struct ExpSum {
  float highest = -FLT_MAX;
  float sum = 0.0F;

  template <int kWidth>
  __device__ __forceinline__ void add(const Floats<kWidth>& logits) {
    float peak = highest;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) peak = fmaxf(peak, logits[e]);
    if (peak > highest) {
      sum *= fast_exp(highest - peak);
      highest = peak;
    }
#pragma unroll
    for (int e = 0; e < kWidth; ++e) sum += fast_exp(logits[e] - highest);
  }

  __device__ __forceinline__ void add(const ExpSum& other) {
    const float peak = fmaxf(highest, other.highest);
    sum = sum * fast_exp(highest - peak) + other.sum * fast_exp(other.highest - peak);
    highest = peak;
  }
};

/// The sum over `lanes` adjacent threads; the same bits in the first of them every time.
__device__ __forceinline__ ExpSum sum_of_lanes(ExpSum own, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    ExpSum other;
    other.highest = shuffle_xor(own.highest, distance);
    other.sum = shuffle_xor(own.sum, distance);
    own.add(other);
  }
  return own;
}

/// The sum over the block's threads, for each of them.
__device__ ExpSum sum_of_block(const ExpSum& own) {
  __shared__ float highest[kThreads / kWarpSize], sum[kThreads / kWarpSize];
  const ExpSum of_warp = sum_of_lanes(own, kWarpSize);
  __syncthreads();  // until the result of an earlier call has been read
  if (threadIdx.x % kWarpSize == 0) {
    highest[threadIdx.x / kWarpSize] = of_warp.highest;
    sum[threadIdx.x / kWarpSize] = of_warp.sum;
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

/// The sum over the `blocks` of a row, for each thread of all of them. Calls alternate between slots 0 and 1: a block
/// may be in the next call while another still reads what it left for this one. Cluster::synchronize() has to follow
/// the last.
__device__ ExpSum sum_of_row(const ExpSum& own, int blocks, int slot) {
  __shared__ float part[2][2], whole[2];
  ExpSum total = sum_of_block(own);
  if (blocks == 1) return total;
  if (threadIdx.x == 0) {
    part[slot][0] = total.highest;
    part[slot][1] = total.sum;
  }
  Cluster::synchronize();
  if (threadIdx.x < kWarpSize) {
    ExpSum other;
    if (threadIdx.x < blocks) {
      other.highest = Cluster::of_rank(part[slot][0], static_cast<int>(threadIdx.x));
      other.sum = Cluster::of_rank(part[slot][1], static_cast<int>(threadIdx.x));
    }
    other = sum_of_lanes(other, kMaxClusterBlocks);
    if (threadIdx.x == 0) {
      whole[0] = other.highest;
      whole[1] = other.sum;
    }
  }
  __syncthreads();
  total.highest = whole[0];
  total.sum = whole[1];
  return total;
}

template <typename L, typename D>
struct CrossEntropy {
  Rows<const L> logits;
  const std::int32_t* targets;
  float* loss;
  Rows<D> d_logits;        // may lie where the logits lie
  float scale;             // of the gradient
  const StepState* state;  // for the loss scale
  Index rows;
  Index columns;
  int blocks;  // of a row
  int kept;    // packs that a block keeps in shared memory: all of its part, or a multiple of kThreads
};

/// The packs of a row that this block handles.
template <int kWidth>
struct PartOfRow {
  int rank;
  Index begin;
  int count;

  __device__ PartOfRow(Index columns, int blocks) : rank(blocks == 1 ? 0 : Cluster::rank()) {
    const Index packs = columns / kWidth;
    begin = packs * rank / blocks;
    count = static_cast<int>(packs * (rank + 1) / blocks - begin);
  }
};

__device__ __forceinline__ float loss_of(const ExpSum& total, float target_logit) {
  return logf(total.sum) + (total.highest - target_logit);
}

template <typename L, typename D, int kWidth>
__global__ void __launch_bounds__(kThreads) forward_kernel(CrossEntropy<L, D> args) {
  const PartOfRow<kWidth> part(args.columns, args.blocks);
  const Index row = blockIdx.x / args.blocks;
  const L* logits = args.logits.at(row, part.begin * kWidth);
  ExpSum own;
  for (int first = static_cast<int>(threadIdx.x); first < part.count; first += kAhead * kThreads) {
    Pack<L, kWidth> ahead[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const Index pack = first + i * kThreads;
      if (pack < part.count) ahead[i] = load_pack<kWidth>(logits + pack * kWidth);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i * kThreads < part.count) own.add(unpacked(ahead[i]));
    }
  }
  const ExpSum total = sum_of_row(own, args.blocks, 0);
  if (part.rank == 0 && threadIdx.x == 0) {
    args.loss[row] = loss_of(total, to_float(*args.logits.at(row, args.targets[row])));
  }
  if (args.blocks > 1) Cluster::synchronize();
}

/// Clusters step through the rows. A thread reads and writes its own packs only, in shared memory too.
template <typename L, typename D, int kWidth>
__global__ void __launch_bounds__(kThreads) forward_backward_kernel(CrossEntropy<L, D> args) {
  extern __shared__ __align__(kAccessBytes) unsigned char room[];
  auto* kept = reinterpret_cast<Pack<L, kWidth>*>(room);
  const PartOfRow<kWidth> part(args.columns, args.blocks);
  const int kept_count = min(part.count, args.kept), thread = static_cast<int>(threadIdx.x);
  const Index clusters = gridDim.x / args.blocks;
  const float scale = static_cast<float>(static_cast<double>(args.scale) * args.state->loss_scale);

  const auto in_memory = [&](Index row, int pack) { return args.logits.at(row, (part.begin + pack) * kWidth); };
  const auto fetch = [&](Index row, int pack) {
    if constexpr (sizeof(*kept) >= 4) {
      copy_to_shared<sizeof(*kept)>(kept + pack, in_memory(row, pack));
    } else {
      kept[pack] = load_pack<kWidth>(in_memory(row, pack));
    }
  };
  const auto logits_of = [&](Index row, int pack) {
    return unpacked(pack < kept_count ? kept[pack] : load_pack<kWidth>(in_memory(row, pack)));
  };

  Index row = blockIdx.x / args.blocks;
  for (int pack = thread; row < args.rows && pack < kept_count; pack += kThreads) fetch(row, pack);
  for (int slot = 0; row < args.rows; row += clusters, slot ^= 1) {
    const Index target = args.targets[row], next_row = row + clusters;
    const float target_logit = to_float(*args.logits.at(row, target));  // before anything is written
    wait_for_copies();
    ExpSum own;
#pragma unroll 2
    for (int pack = thread; pack < part.count; pack += kThreads) own.add(logits_of(row, pack));
    const ExpSum total = sum_of_row(own, args.blocks, slot);
    if (part.rank == 0 && thread == 0) args.loss[row] = loss_of(total, target_logit);

    const float factor = scale / total.sum;
    const auto put = [&](int pack, Floats<kWidth> values) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) values[e] = fast_exp(values[e] - total.highest) * factor;
      store(args.d_logits.at(row, (part.begin + pack) * kWidth), values);
    };
#pragma unroll 2
    for (int pack = thread; pack < kept_count; pack += kThreads) {
      put(pack, unpacked(kept[pack]));
      if (next_row < args.rows) fetch(next_row, pack);
    }
    for (int first = kept_count; first < part.count; first += kAhead * kThreads) {
      Pack<L, kWidth> ahead[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int pack = first + i * kThreads + thread;
        if (pack < part.count) ahead[i] = load_pack<kWidth>(in_memory(row, pack));
      }
      __syncthreads();  // the gradient of these and of those before may lie where these were
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int pack = first + i * kThreads + thread;
        if (pack < part.count) put(pack, unpacked(ahead[i]));
      }
    }
    const Index own_target = target / kWidth - part.begin;
    if (own_target >= 0 && own_target < part.count && own_target % kThreads == thread) {
      const float probability = fast_exp(target_logit - total.highest) / total.sum;
      *args.d_logits.at(row, target) = from_float<D>((probability - 1.0F) * scale);
    }
  }
  if (args.blocks > 1) Cluster::synchronize();
}

bool has_clusters(const Stream& stream) {
  return stream.device().type == DeviceType::kCuda && limits_of(stream).compute_capability >= 90;
}

/// Enough blocks for a row to keep every multiprocessor busy with `rows` of them.
int blocks_of_row(const Stream& stream, Index rows) {
  int blocks = 1;
  while (has_clusters(stream) && blocks < kMaxClusterBlocks && rows * blocks < 4 * limits_of(stream).multiprocessors) {
    blocks *= 2;
  }
  return blocks;
}

#if !defined(PRIMUS_HIP)
struct ClusterLaunch {
  cudaLaunchAttribute attribute = {};
  cudaLaunchConfig_t config = {};

  ClusterLaunch(const Stream& stream, int blocks, std::size_t shared_bytes) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {static_cast<unsigned>(blocks), 1, 1};
    config.gridDim = static_cast<unsigned>(blocks);
    config.blockDim = kThreads;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream_of(stream);
    config.attrs = &attribute;
    config.numAttrs = blocks > 1 ? 1 : 0;
  }
  ClusterLaunch(const ClusterLaunch&) = delete;
  ClusterLaunch& operator=(const ClusterLaunch&) = delete;
};
#endif

/// How many clusters of `blocks` blocks the device runs at once.
template <typename Kernel>
Index resident_clusters(const Stream& stream, Kernel* kernel, int blocks, std::size_t shared_bytes) {
  if (blocks == 1) return resident_blocks(stream, kernel, kThreads, shared_bytes);
#if !defined(PRIMUS_HIP)
  int clusters = 0;
  const ClusterLaunch launch(stream, blocks, shared_bytes);
  GPU_CHECK(cudaOccupancyMaxActiveClusters(&clusters, kernel, &launch.config));
  return clusters;
#endif
}

template <typename Kernel, typename Args>
void launch(const Stream& stream, Kernel* kernel, const Args& args, Index clusters, std::size_t shared_bytes) {
#if defined(PRIMUS_HIP)
  kernel<<<static_cast<unsigned>(clusters), kThreads, shared_bytes, stream_of(stream)>>>(args);
#else
  ClusterLaunch launch(stream, args.blocks, shared_bytes);
  launch.config.gridDim.x = static_cast<unsigned>(clusters * args.blocks);
  GPU_CHECK(cudaLaunchKernelEx(&launch.config, kernel, args));
#endif
}

template <typename L, typename D, int kWidth>
void forward(Stream& stream, CrossEntropy<L, D> args) {
  args.blocks = blocks_of_row(stream, args.rows);
  launch(stream, forward_kernel<L, D, kWidth>, args, args.rows, 0);
  GPU_LAUNCH_CHECK(stream, "cross_entropy_forward");
}

template <typename L, typename D, int kWidth>
void forward_backward(Stream& stream, CrossEntropy<L, D> args) {
  constexpr Index kPackBytes = sizeof(Pack<L, kWidth>);
  const auto most = static_cast<Index>(limits_of(stream).shared_memory_per_block) - 1024;
  const Index good = most / 3;  // three blocks a multiprocessor: while one waits, others read and write
  const Index packs = args.columns / kWidth;
  const Index room = (has_clusters(stream) ? most : good) / kPackBytes / kThreads * kThreads;
  args.blocks = blocks_of_row(stream, args.rows);
  while (has_clusters(stream) && args.blocks < kMaxClusterBlocks && packs * kPackBytes > args.blocks * good) {
    args.blocks *= 2;
  }
  if (packs > args.blocks * room) args.blocks = 1;  // what is read again has to be read in order
  args.kept = static_cast<int>(std::min(divide_up(packs, Index{args.blocks}), room));
  const auto bytes = static_cast<std::size_t>(args.kept * kPackBytes);

  const auto kernel = forward_backward_kernel<L, D, kWidth>;
  stream_of(stream);  // the device whose kernel's attribute is set
  GPU_CHECK(gpuFuncSetAttribute(reinterpret_cast<const void*>(kernel), gpuFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(bytes)));
  const Index clusters = std::min(args.rows, resident_clusters(stream, kernel, args.blocks, bytes));
  launch(stream, kernel, args, clusters, bytes);
  GPU_LAUNCH_CHECK(stream, "cross_entropy_forward_backward");
}

template <typename L, typename D>
CrossEntropy<L, D> kernel_args(const CrossEntropyForwardBackward& args) {
  return {.logits = rows_of<const L>(args.logits),
          .targets = elements_of<const std::int32_t>(args.targets),
          .loss = elements_of<float>(args.loss),
          .d_logits = rows_of<D>(args.d_logits),
          .scale = args.scale,
          .state = static_cast<const StepState*>(args.state.data()),
          .rows = args.logits.rows(),
          .columns = args.logits.columns(),
          .blocks = 1,
          .kept = 0};
}

template <typename L, typename D>
void forward_backward(Stream& stream, const CrossEntropyForwardBackward& args) {
  with_pack_width<L>([&](auto width) { forward_backward<L, D, width>(stream, kernel_args<L, D>(args)); }, args.logits,
                     args.d_logits);
}

}  // namespace

void cross_entropy_forward(Stream& stream, const CrossEntropyForward& args) {
  with_element_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto forward_args = kernel_args<T, T>({.logits = args.logits, .targets = args.targets, .loss = args.loss});
    with_pack_width<T>([&](auto width) { forward<T, T, width>(stream, forward_args); }, args.logits);
  });
}

void cross_entropy_forward_backward(Stream& stream, const CrossEntropyForwardBackward& args) {
  with_element_type(args.d_logits.dtype(), [&](auto type) {
    using T = decltype(type);
    if (args.logits.dtype() == args.d_logits.dtype()) {
      forward_backward<T, T>(stream, args);
    } else {
      forward_backward<float, T>(stream, args);
    }
  });
}

}  // namespace primus::ops::gpu
