#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/philox.cuh"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

/// Elements at a time: 16 bytes of f32, 8 of bf16.
constexpr int kWidth = 4;

/// G, M, A, V: what gradients, master weights, first and second moments are kept in.
template <typename G, typename M, typename A, typename V>
struct Update {
  const G* grads;
  M* master;
  A* exp_avg;
  V* exp_avg_sq;
  void* weights;  // or null
  DType weights_type;
  Index count;
  double lr, beta1, beta2, eps, weight_decay;
  std::uint64_t seed;
  std::uint64_t first_element;
  const StepState* state;
};

/// The numbers of a step, formed in double.
struct Factors {
  float grad_multiplier;
  float beta1;
  float beta2;
  float one_minus_beta1;
  float one_minus_beta2;
  float step_size;        // lr / (1 − β1ᵗ)
  float inverse_sqrt_c2;  // 1 / √(1 − β2ᵗ)
  float eps;
  float decay;  // lr · weight_decay
};

template <typename Args>
__device__ Factors factors_of(const Args& args) {
  const auto step = static_cast<double>(args.state->updates);
  return {.grad_multiplier = static_cast<float>(args.state->grad_multiplier),
          .beta1 = static_cast<float>(args.beta1),
          .beta2 = static_cast<float>(args.beta2),
          .one_minus_beta1 = static_cast<float>(1.0 - args.beta1),
          .one_minus_beta2 = static_cast<float>(1.0 - args.beta2),
          .step_size = static_cast<float>(args.lr / (1.0 - pow(args.beta1, step))),
          .inverse_sqrt_c2 = static_cast<float>(1.0 / sqrt(1.0 - pow(args.beta2, step))),
          .eps = static_cast<float>(args.eps),
          .decay = static_cast<float>(args.lr * args.weight_decay)};
}

/// The 16 random bits that are added below bf16 are the low ones of `random`. Infinities and NaN stay.
template <typename T>
__device__ __forceinline__ T stochastically_rounded(float value, std::uint32_t random) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    const std::uint32_t word = __float_as_uint(value);
    const bool is_finite = (word & 0x7F800000U) != 0x7F800000U;
    const std::uint32_t special = word | ((word & 0x007FFFFFU) != 0 ? 0x00400000U : 0U);
    return {static_cast<std::uint16_t>((is_finite ? word + (random & 0xFFFFU) : special) >> 16)};
  }
}

/// Two words for each of the elements from `element` on, as ops/adamw.h says. More than one begin at an even element.
template <int kCount>
struct RandomBits {
  std::uint32_t first[kCount];
  std::uint32_t second[kCount];

  __device__ __forceinline__ RandomBits(std::uint64_t seed, std::uint64_t updates, std::uint64_t element) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) {
      const PhiloxWords words = philox(seed, updates, (element + i) / 2);
      const bool odd = kCount == 1 && element % 2 != 0;
      first[i] = odd ? words.word[2] : words.word[0];
      second[i] = odd ? words.word[3] : words.word[1];
      if constexpr (kCount > 1) {
        first[i + 1] = words.word[2];
        second[i + 1] = words.word[3];
      }
    }
  }
};

template <int kCount>
__device__ __forceinline__ void store_weights(void* weights, DType type, Index i, const Floats<kCount>& values) {
  if (weights == nullptr) return;
  switch (type) {
    case DType::kBF16:
      return store(static_cast<BF16*>(weights) + i, values);
    case DType::kF16:
      return store(static_cast<F16*>(weights) + i, values);
    default:
      return store(static_cast<float*>(weights) + i, values);
  }
}

/// Elements as they are before the update.
template <int kCount, typename G, typename M, typename A, typename V>
struct Loaded {
  Pack<G, kCount> grads;
  Pack<M, kCount> master;
  Pack<A, kCount> exp_avg;
  Pack<V, kCount> exp_avg_sq;

  Loaded() = default;
  __device__ __forceinline__ Loaded(const Update<G, M, A, V>& args, Index i)
      : grads(load_pack<kCount>(args.grads + i)),
        master(load_pack<kCount>(args.master + i)),
        exp_avg(load_pack<kCount>(args.exp_avg + i)),
        exp_avg_sq(load_pack<kCount>(args.exp_avg_sq + i)) {}
};

/// Elements i … i + kCount − 1.
template <int kCount, typename G, typename M, typename A, typename V>
__device__ __forceinline__ void update(const Update<G, M, A, V>& args, const Factors& f, std::uint64_t updates, Index i,
                                       const Loaded<kCount, G, M, A, V>& before) {
  const auto grads = unpacked(before.grads), master = unpacked(before.master), exp_avg = unpacked(before.exp_avg),
             exp_avg_sq = unpacked(before.exp_avg_sq);
  Floats<kCount> w, m, v;
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const float g = grads[e] * f.grad_multiplier;
    m[e] = f.beta1 * exp_avg[e] + f.one_minus_beta1 * g;
    v[e] = f.beta2 * exp_avg_sq[e] + f.one_minus_beta2 * g * g;
    w[e] = master[e] - (__fdividef(f.step_size * m[e], sqrtf(v[e]) * f.inverse_sqrt_c2 + f.eps) + f.decay * master[e]);
  }
  Pack<M, kCount> kept_master;
  Pack<A, kCount> kept_exp_avg;
  Pack<V, kCount> kept_exp_avg_sq;
  if constexpr (std::is_same_v<M, float> && std::is_same_v<A, float> && std::is_same_v<V, float>) {
    kept_master = packed<float>(w);
    kept_exp_avg = packed<float>(m);
    kept_exp_avg_sq = packed<float>(v);
  } else {
    const RandomBits<kCount> random(args.seed, updates, args.first_element + static_cast<std::uint64_t>(i));
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      kept_master.values[e] = stochastically_rounded<M>(w[e], random.first[e]);
      kept_exp_avg.values[e] = stochastically_rounded<A>(m[e], random.first[e] >> 16);
      kept_exp_avg_sq.values[e] = stochastically_rounded<V>(v[e], random.second[e]);
    }
  }
  store_pack(args.master + i, kept_master);
  store_pack(args.exp_avg + i, kept_exp_avg);
  store_pack(args.exp_avg_sq + i, kept_exp_avg_sq);
  store_weights(args.weights, args.weights_type, i, unpacked(kept_master));
}

template <int kCount, typename G, typename M, typename A, typename V>
__global__ void __launch_bounds__(kBlockThreads) adamw_kernel(Update<G, M, A, V> args) {
  if (args.state->skip != 0) return;
  __shared__ Factors shared_factors;
  if (threadIdx.x == 0) shared_factors = factors_of(args);
  __syncthreads();
  const Factors factors = shared_factors;
  const auto updates = static_cast<std::uint64_t>(args.state->updates);
  const Index packs = args.count / kCount, step = static_cast<Index>(gridDim.x) * blockDim.x;
  const Index thread = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  using Elements = Loaded<kCount, G, M, A, V>;
  Elements ahead;  // is read while the elements before it are computed
  if (thread < packs) ahead = Elements(args, thread * kCount);
  for (Index pack = thread; pack < packs; pack += step) {
    const Elements now = ahead;
    if (pack + step < packs) ahead = Elements(args, (pack + step) * kCount);
    update(args, factors, updates, pack * kCount, now);
  }
  const Index rest = packs * kCount + thread;  // of the last pack, if it is not whole
  if (rest < args.count) update(args, factors, updates, rest, Loaded<1, G, M, A, V>(args, rest));
}

template <typename G, typename M, typename A, typename V>
void launch(Stream& stream, const AdamW& args) {
  const Update<G, M, A, V> update = {.grads = elements_of<const G>(args.grads),
                                     .master = elements_of<M>(args.master),
                                     .exp_avg = elements_of<A>(args.exp_avg),
                                     .exp_avg_sq = elements_of<V>(args.exp_avg_sq),
                                     .weights = args.weights.data(),
                                     .weights_type = args.weights.dtype(),
                                     .count = args.grads.numel(),
                                     .lr = args.lr,
                                     .beta1 = args.beta1,
                                     .beta2 = args.beta2,
                                     .eps = args.eps,
                                     .weight_decay = args.weight_decay,
                                     .seed = args.seed,
                                     .first_element = args.first_element,
                                     .state = static_cast<const StepState*>(args.state.data())};
  const auto aligned = [](const Tensor& tensor) {
    return reinterpret_cast<std::uintptr_t>(tensor.data()) % (kWidth * size_of(tensor.dtype())) == 0;
  };
  const bool packs = args.first_element % 2 == 0 && aligned(args.grads) && aligned(args.master) &&
                     aligned(args.exp_avg) && aligned(args.exp_avg_sq) && aligned(args.weights);
  const auto kernel = packs ? adamw_kernel<kWidth, G, M, A, V> : adamw_kernel<1, G, M, A, V>;
  const gpuStream_t on = stream_of(stream);
  const Index blocks =
      std::min(divide_up(update.count, kWidth * kBlockThreads), resident_blocks(stream, kernel, kBlockThreads));
  kernel<<<static_cast<unsigned>(blocks), kBlockThreads, 0, on>>>(update);
  GPU_LAUNCH_CHECK(stream, "adamw");
}

}  // namespace

void adamw(Stream& stream, const AdamW& args) {
  with_state_type(args.grads.dtype(), [&](auto g) {
    with_state_type(args.master.dtype(), [&](auto m) {
      with_state_type(args.exp_avg.dtype(), [&](auto a) {
        with_state_type(args.exp_avg_sq.dtype(),
                        [&](auto v) { launch<decltype(g), decltype(m), decltype(a), decltype(v)>(stream, args); });
      });
    });
  });
}

}  // namespace primus::ops::gpu
