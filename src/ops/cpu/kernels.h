#pragma once

#include <cstddef>
#include <cstdint>

/// The inner loops of the CPU back end. Their sources (kernels/*.cpp) are compiled once for each level of instruction
/// set (see CMakeLists.txt), every time into a namespace of that level, and `kernels()` gives the table of the best
/// level that this machine can run. What crosses this border is plain addresses and numbers: a kernel source includes
/// this file, kernels/simd.h and compiler intrinsics only, so that no inline function of a shared header is compiled
/// for a newer CPU and then picked by the linker for all.
///
/// Kernels are serial, over a range of rows; threads and element types are chosen by the callers in ops/cpu/*.cpp.
namespace primus::ops::cpu {

using Index = std::int64_t;

/// Rows of elements whose type the kernel knows; `stride` in elements. A null address: not there.
struct Rows {
  void* data = nullptr;
  Index stride = 0;
};

struct RmsNormArgs {
  Rows x;
  const void* weight = nullptr;
  Rows y;
  float* rstd = nullptr;
  Index columns = 0;
  float eps = 0.0F;
};

struct RmsNormBackwardArgs {
  Rows dy;
  Rows x;
  const void* weight = nullptr;
  const float* rstd = nullptr;
  Rows d_residual;
  Rows dx;
  Index columns = 0;
};

/// Norm (where there is a weight) and rotation of the heads of q or of k.
struct RopeArgs {
  Rows x;
  Rows out;
  Index heads = 0;
  Index head_dim = 0;
  const void* weight = nullptr;
  float eps = 0.0F;
  const std::int32_t* positions = nullptr;
  const float* cos = nullptr;
  const float* sin = nullptr;
  Index angle_stride = 0;
  float* rstd = nullptr;  // rstd[t · rstd_stride + head]
  Index rstd_stride = 0;
};

struct RopeBackwardArgs {
  Rows d_out;
  Rows x;  // with norm
  Rows dx;
  Index heads = 0;
  Index head_dim = 0;
  const void* weight = nullptr;
  const std::int32_t* positions = nullptr;
  const float* cos = nullptr;
  const float* sin = nullptr;
  Index angle_stride = 0;
  const float* rstd = nullptr;
  Index rstd_stride = 0;
};

struct CrossEntropyArgs {
  Rows logits;
  const std::int32_t* targets = nullptr;
  float* loss = nullptr;
  Rows d_logits;  // null: the loss alone
  Index columns = 0;
  float scale = 0.0F;
};

/// The numbers of one AdamW step, made from the step state in double.
struct AdamWFactors {
  float grad_multiplier = 1.0F;
  float beta1 = 0.0F;
  float beta2 = 0.0F;
  float one_minus_beta1 = 0.0F;
  float one_minus_beta2 = 0.0F;
  float step_size = 0.0F;        // lr / (1 − β1ᵗ)
  float inverse_sqrt_c2 = 0.0F;  // 1 / √(1 − β2ᵗ)
  float eps = 0.0F;
  float decay = 0.0F;  // lr · weight_decay
};

/// Random bits for stochastic rounding and dropout: Philox of base/random.h.
struct RandomStream {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
};

/// Queries and keys of a block of attention.
constexpr Index kAttentionBlock = 64;

/// One head of one document: rows from its first token on, at the columns of the head.
struct AttentionTask {
  Rows q;
  Rows k;
  Rows v;
  Rows out;
  Rows d_out;
  Rows d_q;
  float* lse = nullptr;  // of the document's tokens
  Index length = 0;
  Index head_dim = 0;
  Index width = 0;  // head_dim rounded up to whole vectors of any level: a row of f32 scratch
  float scale = 1.0F;
};

/// The kernels of one element type T.
struct ElementKernels {
  void (*load)(const void* in, float* out, Index count);
  void (*store)(const float* in, void* out, Index count);
  void (*add)(const void* x, const void* delta, void* sum, Index count);
  void (*rms_norm)(const RmsNormArgs&, Index begin, Index end);
  /// Adds Σ dy·x·rstd of these rows to `d_weight` (null: frozen).
  void (*rms_norm_backward)(const RmsNormBackwardArgs&, float* d_weight, Index begin, Index end);
  void (*rope)(const RopeArgs&, Index begin, Index end);
  void (*rope_backward)(const RopeBackwardArgs&, float* d_weight, Index begin, Index end);
  void (*swiglu)(const Rows& gate_up, const Rows& out, Index columns, Index begin, Index end);
  /// `out` may be null
  void (*swiglu_backward)(const Rows& d_out, const Rows& gate_up, const Rows& d_gate_up, const Rows& out, Index columns,
                          Index begin, Index end);
  /// sums[j] += Σ over rows [begin, end) of x[t, j]
  void (*column_sums)(const Rows& x, Index columns, float* sums, Index begin, Index end);
  void (*cross_entropy)(const CrossEntropyArgs&, Index begin, Index end);
  /// Logits in f32, gradients in T.
  void (*cross_entropy_of_f32)(const CrossEntropyArgs&, Index begin, Index end);
  /// Queries [first, first + kAttentionBlock) of a document; `room` of 2·block² + 7·block·width + 4·block floats.
  void (*attention_forward)(const AttentionTask&, Index first, float* room);
  /// d_q, and what this head adds to dK and dV: (length, width) f32, cleared here.
  void (*attention_backward)(const AttentionTask&, float* d_keys, float* d_values, float* room);
  void (*attention_sum_parts)(const float* part, Index part_stride, Index parts, Index width, Index dim,
                              const Rows& out, Index begin, Index end);
  /// One query against `length` keys; `scores` has room for `length` floats rounded up to 16.
  void (*attention_decode)(const AttentionTask&, float* scores);
  double (*squared_norm)(const void* x, Index count);
  /// out = scale · in into f32, bf16, f16
  void (*convert[3])(const void* in, void* out, float scale, Index count);
  /// Elements [0, count) of the stream's element `first` …
  void (*dropout)(const void* x, void* out, Index count, const RandomStream&, std::uint64_t first,
                  std::uint32_t threshold, float scale);
};

struct Kernels {
  const char* name;
  ElementKernels element[3];  // f32, bf16, f16
  /// One AdamW step of `count` elements in f32.
  void (*adamw)(const AdamWFactors&, const float* grads, float* weights, float* exp_avg, float* exp_avg_sq,
                Index count);
  /// 16 random bits for each of three states of the elements 2 · first_pair … (see ops/adamw.h), `pairs` · 2 of them.
  void (*rounding_bits)(const RandomStream&, std::uint64_t first_pair, std::uint16_t* master, std::uint16_t* exp_avg,
                        std::uint16_t* exp_avg_sq, Index pairs);
  /// bf16 with `random` added below the kept bits; infinities and NaN stay.
  void (*store_stochastic)(const float* in, const std::uint16_t* random, void* out, Index count);
  /// out[i] = exp(in[i]), for the test of the approximation.
  void (*exponential)(const float* in, float* out, Index count);
};

/// The table for this machine.
const Kernels& kernels();

}  // namespace primus::ops::cpu
