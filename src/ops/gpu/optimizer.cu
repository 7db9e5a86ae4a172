#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/philox.cuh"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

/// Elements at a time: 16 bytes of the widest of these types. 8 bytes of another are as fast, 32 are not.
template <typename... T>
constexpr int kWidth = std::min({kPackWidth<T>...});

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
  PhiloxKeys keys;
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

/// The 16 random bits that are added below bf16, as ops/adamw.h says, for the elements from `element` on. More than one
/// begin at a multiple of kCount, so that their blocks differ in the lowest bits alone.
template <int kCount>
struct Noise {
  std::uint32_t master[kCount];
  std::uint32_t exp_avg[kCount];
  std::uint32_t exp_avg_sq[kCount];

  __device__ __forceinline__ Noise(const PhiloxKeys& keys, std::uint64_t updates, std::uint64_t element) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) {
      const PhiloxWords words = philox(keys, updates, element / 2 | static_cast<std::uint64_t>(i / 2));
      if constexpr (kCount == 1) {
        const bool odd = element % 2 != 0;
        set(i, odd ? words.word[2] : words.word[0], odd ? words.word[3] : words.word[1]);
      } else {
        set(i, words.word[0], words.word[1]);
        set(i + 1, words.word[2], words.word[3]);
      }
    }
  }

 private:
  __device__ __forceinline__ void set(int i, std::uint32_t first, std::uint32_t second) {
    master[i] = first & 0xFFFFU;
    exp_avg[i] = first >> 16;
    exp_avg_sq[i] = second & 0xFFFFU;
  }
};

/// For any numbers.
struct Careful {
  __device__ __forceinline__ static float root(float x) { return sqrtf(x); }
  __device__ __forceinline__ static float quotient(float x, float y) { return __fdividef(x, y); }
  /// In the upper half: bf16. Noise cannot reach it from an infinity, whose lower half is zero; a NaN stays.
  __device__ __forceinline__ static std::uint32_t rounded(float value, std::uint32_t noise) {
    return __float_as_uint(value) + (isnan(value) ? 0 : noise);
  }
};

/// The same bits in fewer instructions and no branches: where takes_root_of(x), |y| ≥ 2^-126, and `value` is no NaN.
struct Quick {
  /// Whether 2^-101 ≤ x < ∞.
  __device__ __forceinline__ static bool takes_root_of(float x) {
    constexpr std::uint32_t kLeast = 0x0D000000U, kInfinity = 0x7F800000U;
    return __float_as_uint(x) - kLeast < kInfinity - kLeast;
  }

  __device__ __forceinline__ static std::uint32_t rounded(float value, std::uint32_t noise) {
    return __float_as_uint(value) + noise;
  }
#if defined(PRIMUS_HIP)
  __device__ __forceinline__ static float root(float x) { return Careful::root(x); }
  __device__ __forceinline__ static float quotient(float x, float y) { return Careful::quotient(x, y); }
#else
  /// sqrtf() less its way for other x.
  __device__ __forceinline__ static float root(float x) {
    float inverse;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
    const float near = x * inverse;
    return fmaf(fmaf(-near, near, x), inverse * 0.5F, near);
  }
  /// __fdividef() less its way for smaller y.
  __device__ __forceinline__ static float quotient(float x, float y) {
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(y));
    return x * inverse;
  }
#endif
};

template <typename T, int kCount>
__device__ __forceinline__ Pack<T, kCount> upper_halves(const std::uint32_t (&words)[kCount]) {
  Pack<T, kCount> pack;
  if constexpr (kHasPairs<T, kCount>) {
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) set_pair(pack, i, {words[2 * i] >> 16 | (words[2 * i + 1] & 0xFFFF0000U)});
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) pack.values[i] = {static_cast<std::uint16_t>(words[i] >> 16)};
  }
  return pack;
}

template <typename Arithmetic, typename T, int kCount>
__device__ __forceinline__ Pack<T, kCount> kept(const Floats<kCount>& values, const std::uint32_t (&noise)[kCount]) {
  if constexpr (std::is_same_v<T, float>) {
    return packed<T>(values);
  } else {
    std::uint32_t words[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) words[i] = Arithmetic::rounded(values[i], noise[i]);
    return upper_halves<T>(words);
  }
}

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

/// Elements after the update, in f32.
template <int kCount>
struct Updated {
  Floats<kCount> master, exp_avg, exp_avg_sq;
};

// Products and sums are fused by name, not as the compiler likes: packs and single elements get the same bits.
template <int kCount>
__device__ __forceinline__ void update_moments(Updated<kCount>& at, const Factors& f, const Floats<kCount>& grads) {
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const float g = grads[e] * f.grad_multiplier;
    at.exp_avg[e] = fmaf(f.beta1, at.exp_avg[e], f.one_minus_beta1 * g);
    at.exp_avg_sq[e] = fmaf(f.one_minus_beta2 * g, g, f.beta2 * at.exp_avg_sq[e]);
  }
}

/// From the moments after the update and the master weights before it.
template <typename Arithmetic, int kCount>
__device__ __forceinline__ Updated<kCount> with_weights_updated(Updated<kCount> at, const Factors& f) {
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const float w = at.master[e], denominator = fmaf(Arithmetic::root(at.exp_avg_sq[e]), f.inverse_sqrt_c2, f.eps);
    at.master[e] = w - fmaf(f.decay, w, Arithmetic::quotient(f.step_size * at.exp_avg[e], denominator));
  }
  return at;
}

/// Whether Quick is right for all of them. The denominator is at least the root of exp_avg_sq, and where a moment is
/// NaN, so is the weight.
template <int kCount>
__device__ __forceinline__ bool suits_quick(const Updated<kCount>& updated) {
  bool quick = true;
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    quick &= Quick::takes_root_of(updated.exp_avg_sq[e]);
    quick &= !isnan(updated.master[e]);
  }
  return quick;
}

/// Elements i … i + kCount − 1.
template <typename Arithmetic, int kCount, typename G, typename M, typename A, typename V>
__device__ __forceinline__ void keep(const Update<G, M, A, V>& args, Index i, const Updated<kCount>& updated,
                                     const Noise<kCount>& noise) {
  const auto master = kept<Arithmetic, M>(updated.master, noise.master);
  store_pack(args.master + i, master);
  store_pack(args.exp_avg + i, kept<Arithmetic, A>(updated.exp_avg, noise.exp_avg));
  store_pack(args.exp_avg_sq + i, kept<Arithmetic, V>(updated.exp_avg_sq, noise.exp_avg_sq));
  store_weights(args.weights, args.weights_type, i, unpacked(master));
}

template <int kCount, typename G, typename M, typename A, typename V>
__device__ __forceinline__ void update(const Update<G, M, A, V>& args, const Factors& factors, std::uint64_t updates,
                                       Index i) {
  Updated<kCount> at = {load<kCount>(args.master + i), load<kCount>(args.exp_avg + i),
                        load<kCount>(args.exp_avg_sq + i)};
  update_moments(at, factors, load<kCount>(args.grads + i));
  const Noise<kCount> noise(args.keys, updates, args.first_element + static_cast<std::uint64_t>(i));
  const auto updated = with_weights_updated<Quick>(at, factors);
  if (suits_quick(updated)) {
    keep<Quick>(args, i, updated, noise);
  } else {
    keep<Careful>(args, i, with_weights_updated<Careful>(at, factors), noise);
  }
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
  for (Index pack = thread; pack < packs; pack += step) update<kCount>(args, factors, updates, pack * kCount);
  const Index rest = packs * kCount + thread;  // of the last pack, if it is not whole
  if (rest < args.count) update<1>(args, factors, updates, rest);
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
                                     .keys = PhiloxKeys(args.seed),
                                     .first_element = args.first_element,
                                     .state = static_cast<const StepState*>(args.state.data())};
  constexpr int kPack = kWidth<G, M, A, V>;
  const auto aligned = [](const Tensor& tensor) {
    return reinterpret_cast<std::uintptr_t>(tensor.data()) % (kPack * size_of(tensor.dtype())) == 0;
  };
  const bool packs = args.first_element % kPack == 0 && aligned(args.grads) && aligned(args.master) &&
                     aligned(args.exp_avg) && aligned(args.exp_avg_sq) && aligned(args.weights);
  const auto kernel = packs ? adamw_kernel<kPack, G, M, A, V> : adamw_kernel<1, G, M, A, V>;
  const gpuStream_t on = stream_of(stream);
  const Index blocks =
      std::min(divide_up(update.count, kPack * kBlockThreads), resident_blocks(stream, kernel, kBlockThreads));
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
