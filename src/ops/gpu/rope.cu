#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/partial_sums.cuh"
#include "ops/gpu/query_sums.cuh"
#include "ops/gpu/table.h"

/// A head of a token is handled by a group of `lanes` adjacent threads of a warp; each holds packs of the first half
/// and the packs of the second half that they are rotated with. Blocks are divided between the heads of q and of k, so
/// that one launch does both.
namespace primus::ops::gpu {
namespace {

constexpr int kMaxHeadDim = 256;
constexpr int kMaxLanes = 32;

/// Pairs of packs that a thread holds: a group of kMaxLanes threads then holds the widest head.
template <int kWidth>
constexpr int kPairs = std::max(1, kMaxHeadDim / 2 / kMaxLanes / kWidth);

struct Angles {
  const std::int32_t* positions;
  Rows<const float> cos;
  Rows<const float> sin;
};

/// The heads of q or those of k: as many of the grid's blocks as they need, from `first_block` on.
struct Part {
  Index first_block;
  Index blocks;
  int heads;
  int first_head;  // column of rstd
};

struct Shape {
  Index tokens;
  int half;   // head_dim / 2
  int lanes;  // of a group, a power of two
};

/// A thread's place: its group and its lane there.
struct Place {
  const Shape& shape;
  int lane;
  int group;
  int groups;  // of a block

  __device__ explicit Place(const Shape& of)
      : shape(of),
        lane(static_cast<int>(threadIdx.x) & (of.lanes - 1)),
        group(static_cast<int>(threadIdx.x) / of.lanes),
        groups(static_cast<int>(blockDim.x) / of.lanes) {}

  /// body(pair, j) for each pair of packs, at j and j + half of the head, that this thread holds.
  template <int kWidth, typename Body>
  __device__ __forceinline__ void for_pairs(const Body& body) const {
#pragma unroll
    for (int pair = 0; pair < kPairs<kWidth>; ++pair) {
      const int j = (lane + pair * shape.lanes) * kWidth;
      if (j < shape.half) body(pair, j);
    }
  }

  /// body(token, head, is_real) for the heads that this group handles. All groups of a block go round equally often,
  /// since their threads add up over the warp; rounds past the end repeat the last head with is_real false.
  template <typename Body>
  __device__ __forceinline__ void for_heads(const Part& part, const Body& body) const {
    const unsigned count = static_cast<unsigned>(shape.tokens) * part.heads;
    const unsigned step = static_cast<unsigned>(part.blocks) * groups;
    for (unsigned first = (blockIdx.x - part.first_block) * groups; first < count; first += step) {
      const unsigned item = min(first + group, count - 1);
      body(static_cast<int>(item / part.heads), static_cast<int>(item % part.heads), first + group < count);
    }
  }
};

template <typename T>
struct ForwardPart : Part {
  Rows<const T> x;
  Rows<T> out;
  const T* weight;
};

template <typename T>
struct Forward {
  Shape shape;
  ForwardPart<T> q;
  ForwardPart<T> k;
  Angles angles;
  float eps;
  Rows<float> rstd;  // or not there
};

template <typename T, int kWidth, bool kNorm>
__global__ void __launch_bounds__(kBlockThreads, 5) forward_kernel(Forward<T> args) {
  const Place place(args.shape);
  const int half = args.shape.half, head_dim = 2 * half;
  const ForwardPart<T>& part = blockIdx.x < args.q.blocks ? args.q : args.k;
  place.for_heads(part, [&](int token, int head, bool is_real) {
    const T* x = part.x.at(token, head * head_dim);
    T* out = part.out.at(token, head * head_dim);
    Pack<T, kWidth> first[kPairs<kWidth>], second[kPairs<kWidth>];
    Floats<kWidth> cos[kPairs<kWidth>], sin[kPairs<kWidth>];
    const int position = args.angles.positions[token];
    place.template for_pairs<kWidth>([&](int pair, int j) {
      first[pair] = load_pack<kWidth>(x + j);
      second[pair] = load_pack<kWidth>(x + half + j);
      cos[pair] = load<kWidth>(args.angles.cos.at(position, j));
      sin[pair] = load<kWidth>(args.angles.sin.at(position, j));
    });
    float rstd = 1.0F;
    if constexpr (kNorm) {
      float squares = 0.0F;
      place.template for_pairs<kWidth>([&](int pair, int) {
        const auto a = unpacked(first[pair]), b = unpacked(second[pair]);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) squares += a[e] * a[e] + b[e] * b[e];
      });
      rstd = rsqrtf(lanes_sum(squares, args.shape.lanes) / static_cast<float>(head_dim) + args.eps);
      if (args.rstd && place.lane == 0 && is_real) *args.rstd.at(token, part.first_head + head) = rstd;
    }
    if (!is_real) return;
    place.template for_pairs<kWidth>([&](int pair, int j) {
      auto a = unpacked(first[pair]), b = unpacked(second[pair]);
      if constexpr (kNorm) {
#pragma unroll
        for (int e = 0; e < kWidth; ++e) {
          a[e] *= rstd;
          b[e] *= rstd;
        }
        a = unpacked(product(packed<T>(a), load_pack<kWidth>(part.weight + j)));
        b = unpacked(product(packed<T>(b), load_pack<kWidth>(part.weight + half + j)));
      }
      Floats<kWidth> turned_a, turned_b;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        turned_a[e] = a[e] * cos[pair][e] - b[e] * sin[pair][e];
        turned_b[e] = b[e] * cos[pair][e] + a[e] * sin[pair][e];
      }
      store(out + j, turned_a);
      store(out + half + j, turned_b);
    });
  });
}

template <typename T>
struct BackwardPart : Part {
  Rows<const T> d_out;
  QuerySums d_out_sums;  // in its place, or not there
  Rows<const T> x;
  Rows<T> dx;
  const T* weight;
  float* d_weight;  // partial sums, (blocks, head_dim); or null: frozen
};

template <typename T>
struct Backward {
  Shape shape;
  BackwardPart<T> q;
  BackwardPart<T> k;
  Angles angles;
  Rows<const float> rstd;
};

/// From j on, in a head's first or second half.
template <int kWidth, bool kFromSums, typename T>
__device__ __forceinline__ Floats<kWidth> load_d_out(const BackwardPart<T>& part, int token, int head, int half,
                                                     int second, int j) {
  if constexpr (kFromSums) {
    if (part.d_out_sums.data != nullptr) return part.d_out_sums.template load<kWidth>(head, second, token, j);
  }
  return load<kWidth>(part.d_out.at(token, (2 * head + second) * half + j));
}

/// partial[j] = Σ over the block's groups of their sums, in order.
template <int kWidth, typename Sums>
__device__ void store_sums_of_block(const Place& place, const Sums& sum_a, const Sums& sum_b, float* partial) {
  __shared__ float sums[kBlockThreads * 2 * kPairs<kWidth> * kWidth];  // (groups, head_dim)
  const int half = place.shape.half, head_dim = 2 * half;
  place.template for_pairs<kWidth>([&](int pair, int j) {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      sums[place.group * head_dim + j + e] = sum_a[pair][e];
      sums[place.group * head_dim + half + j + e] = sum_b[pair][e];
    }
  });
  __syncthreads();
  for (int j = static_cast<int>(threadIdx.x); j < head_dim; j += static_cast<int>(blockDim.x)) {
    float sum = 0.0F;
    for (int group = 0; group < place.groups; ++group) sum += sums[group * head_dim + j];
    partial[j] = sum;
  }
}

template <typename T, int kWidth, bool kFromSums, bool kNorm, bool kSumWeights>
__global__ void __launch_bounds__(kBlockThreads, 4) backward_kernel(Backward<T> args) {
  const Place place(args.shape);
  const int half = args.shape.half, head_dim = 2 * half;
  const BackwardPart<T>& part = blockIdx.x < args.q.blocks ? args.q : args.k;
  Floats<kWidth> sum_a[kPairs<kWidth>] = {}, sum_b[kPairs<kWidth>] = {};
  place.for_heads(part, [&](int token, int head, bool is_real) {
    T* dx = part.dx.at(token, head * head_dim);
    Floats<kWidth> da[kPairs<kWidth>], db[kPairs<kWidth>];  // turned back: the gradient of the normed head
    Pack<T, kWidth> first[kPairs<kWidth>], second[kPairs<kWidth>];
    const int position = args.angles.positions[token];
    place.template for_pairs<kWidth>([&](int pair, int j) {
      const auto a = load_d_out<kWidth, kFromSums>(part, token, head, half, 0, j),
                 b = load_d_out<kWidth, kFromSums>(part, token, head, half, 1, j);
      const auto cos = load<kWidth>(args.angles.cos.at(position, j)),
                 sin = load<kWidth>(args.angles.sin.at(position, j));
      if constexpr (kNorm) {
        first[pair] = load_pack<kWidth>(part.x.at(token, head * head_dim + j));
        second[pair] = load_pack<kWidth>(part.x.at(token, head * head_dim + half + j));
      }
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        da[pair][e] = a[e] * cos[e] + b[e] * sin[e];
        db[pair][e] = b[e] * cos[e] - a[e] * sin[e];
      }
    });
    if constexpr (kNorm) {
      const float rstd = *args.rstd.at(token, part.first_head + head);
      float products = 0.0F;
      place.template for_pairs<kWidth>([&](int pair, int j) {
        const auto a = unpacked(first[pair]), b = unpacked(second[pair]);
        const auto weight_a = load<kWidth>(part.weight + j), weight_b = load<kWidth>(part.weight + half + j);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) {
          products += da[pair][e] * weight_a[e] * a[e] + db[pair][e] * weight_b[e] * b[e];
        }
      });
      const float mean = lanes_sum(products, args.shape.lanes) * rstd / static_cast<float>(head_dim);
      place.template for_pairs<kWidth>([&](int pair, int j) {
        const auto a = unpacked(first[pair]), b = unpacked(second[pair]);
        const auto weight_a = load<kWidth>(part.weight + j), weight_b = load<kWidth>(part.weight + half + j);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) {
          const float normed_a = a[e] * rstd, normed_b = b[e] * rstd;
          if (kSumWeights && is_real) {
            sum_a[pair][e] += da[pair][e] * normed_a;
            sum_b[pair][e] += db[pair][e] * normed_b;
          }
          da[pair][e] = (da[pair][e] * weight_a[e] - normed_a * mean) * rstd;
          db[pair][e] = (db[pair][e] * weight_b[e] - normed_b * mean) * rstd;
        }
      });
    }
    if (!is_real) return;
    place.template for_pairs<kWidth>([&](int pair, int j) {
      store(dx + j, da[pair]);
      store(dx + half + j, db[pair]);
    });
  });
  if constexpr (kSumWeights) {
    if (part.d_weight == nullptr) return;
    store_sums_of_block<kWidth>(place, sum_a, sum_b, part.d_weight + (blockIdx.x - part.first_block) * head_dim);
  }
}

Shape shape_of(Index tokens, int head_dim, int width) {
  PRIMUS_CHECK(head_dim <= kMaxHeadDim, head_dim);
  int lanes = 1;
  while (lanes < kMaxLanes && lanes * width < head_dim / 2) lanes *= 2;
  return {.tokens = tokens, .half = head_dim / 2, .lanes = lanes};
}

Angles angles_of(const Tensor& positions, const Tensor& cos, const Tensor& sin) {
  return {elements_of<const std::int32_t>(positions), rows_of<const float>(cos), rows_of<const float>(sin)};
}

struct Parts {
  Part q;
  Part k;
  unsigned blocks() const { return static_cast<unsigned>(q.blocks + k.blocks); }
};

/// About `most` blocks at most.
Parts parts_of(const Shape& shape, const Tensor& q, const Tensor& k, Index most) {
  const int head_dim = 2 * shape.half;
  const int heads = static_cast<int>(q.columns()) / head_dim, kv_heads = static_cast<int>(k.columns()) / head_dim;
  PRIMUS_CHECK(shape.tokens * (heads + kv_heads) < Index{1} << 31, shape.tokens, heads, kv_heads);
  const auto blocks = [&](int count) {
    return std::min(divide_up(shape.tokens * count * shape.lanes, kBlockThreads),
                    divide_up(most * count, heads + kv_heads));
  };
  const Part q_part = {.first_block = 0, .blocks = blocks(heads), .heads = heads, .first_head = 0};
  return {q_part, {.first_block = q_part.blocks, .blocks = blocks(kv_heads), .heads = kv_heads, .first_head = heads}};
}

template <typename T>
ForwardPart<T> forward_part(const Part& part, const Tensor& x, const Tensor& out, const Tensor& weight) {
  return {part, rows_of<const T>(x), rows_of<T>(out), elements_of<const T>(weight)};
}

QuerySums query_sums_of(const Tensor& sums, Index tokens, int head_dim) {
  if (sums.empty()) return {};
  PRIMUS_CHECK(head_dim == 2 * QuerySums::kColumns, head_dim);
  return {sums.as<float>(), tokens};
}

template <typename T>
BackwardPart<T> backward_part(const Part& part, const Tensor& d_out, const QuerySums& d_out_sums, const Tensor& x,
                              const Tensor& dx, const Tensor& weight, const PartialSums& d_weight) {
  return {part,           rows_of<const T>(d_out),      d_out_sums,   rows_of<const T>(x),
          rows_of<T>(dx), elements_of<const T>(weight), d_weight.data};
}

constexpr Index kManyBlocks = Index{1} << 30;
/// Blocks of a kernel that sums, for each that the device runs at once: some take turns, so that one's loads fill the
/// other's gaps.
constexpr Index kTurns = 4;

template <typename T, int kWidth>
void forward(Stream& stream, const RopeForward& args) {
  const Shape shape = shape_of(args.q.rows(), args.head_dim, kWidth);
  const Parts parts = parts_of(shape, args.q, args.k, kManyBlocks);
  const Forward<T> kernel_args = {.shape = shape,
                                  .q = forward_part<T>(parts.q, args.q, args.q_out, args.q_weight),
                                  .k = forward_part<T>(parts.k, args.k, args.k_out, args.k_weight),
                                  .angles = angles_of(args.positions, args.cos, args.sin),
                                  .eps = args.eps,
                                  .rstd = rows_of<float>(args.rstd)};
  if (args.q_weight) {
    forward_kernel<T, kWidth, true><<<parts.blocks(), kBlockThreads, 0, stream_of(stream)>>>(kernel_args);
  } else {
    forward_kernel<T, kWidth, false><<<parts.blocks(), kBlockThreads, 0, stream_of(stream)>>>(kernel_args);
  }
  GPU_LAUNCH_CHECK(stream, "rope_forward");
}

template <typename T, int kWidth, bool kFromSums>
void backward(Stream& stream, const RopeBackward& args) {
  const Shape shape = shape_of(args.d_q_out.rows(), args.head_dim, kWidth);
  const bool sums = args.d_q_weight || args.d_k_weight;
  const gpuStream_t on = stream_of(stream);
  const auto summing_kernel = backward_kernel<T, kWidth, kFromSums, true, true>;
  const Index most = sums ? kTurns * resident_blocks(stream, summing_kernel, kBlockThreads) : kManyBlocks;
  const Parts parts = parts_of(shape, args.d_q_out, args.d_k_out, most);
  PartialSums q_sums = {}, k_sums = {};
  if (sums) {
    const PartialSums both = partial_sums_of(stream, parts.q.blocks + parts.k.blocks, args.head_dim);
    PRIMUS_CHECK(both.count == parts.q.blocks + parts.k.blocks, both.count, parts.q.blocks, parts.k.blocks);
    if (args.d_q_weight) q_sums = {both.data, static_cast<int>(parts.q.blocks), both.columns};
    float* const rest = both.data + parts.q.blocks * both.columns;
    if (args.d_k_weight) k_sums = {rest, static_cast<int>(parts.k.blocks), both.columns};
  }
  const Backward<T> kernel_args = {
      .shape = shape,
      .q = backward_part<T>(parts.q, args.d_q_out, query_sums_of(args.d_q_sums, shape.tokens, args.head_dim), args.q,
                            args.d_q, args.q_weight, q_sums),
      .k = backward_part<T>(parts.k, args.d_k_out, {}, args.k, args.d_k, args.k_weight, k_sums),
      .angles = angles_of(args.positions, args.cos, args.sin),
      .rstd = rows_of<const float>(args.rstd)};
  if (sums) {
    summing_kernel<<<parts.blocks(), kBlockThreads, 0, on>>>(kernel_args);
  } else if (args.q_weight) {
    backward_kernel<T, kWidth, kFromSums, true, false><<<parts.blocks(), kBlockThreads, 0, on>>>(kernel_args);
  } else {
    backward_kernel<T, kWidth, kFromSums, false, false><<<parts.blocks(), kBlockThreads, 0, on>>>(kernel_args);
  }
  GPU_LAUNCH_CHECK(stream, "rope_backward");
  if (sums) {
    add_partial_sums(stream, "rope_backward, sums", {q_sums, args.d_q_weight}, {k_sums, args.d_k_weight});
  }
}

}  // namespace

void rope_forward(Stream& stream, const RopeForward& args) {
  with_element_type(args.q.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>([&](auto width) { forward<T, width>(stream, args); }, args.q, args.k, args.q_weight,
                       args.k_weight, args.cos, args.sin, args.q_out, args.k_out);
  });
}

void rope_backward(Stream& stream, const RopeBackward& args) {
  with_element_type(args.d_q_out.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto run = [&](auto width) {
      if constexpr (sizeof(T) == 2) {
        if (args.d_q_sums) return backward<T, width, true>(stream, args);
      }
      backward<T, width, false>(stream, args);
    };
    with_pack_width<T>(run, args.d_q_out, args.d_k_out, args.q, args.k, args.q_weight, args.k_weight, args.cos,
                       args.sin, args.d_q, args.d_k);
  });
}

}  // namespace primus::ops::gpu
