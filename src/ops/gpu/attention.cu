#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "ops/gpu/attention_cudnn.h"
#include "ops/gpu/device.h"
#include "ops/gpu/flash.cuh"
#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

/// Which implementation runs, the first of these that can:
///   cudnn  16-bit types, where all documents have one length (a single one above all); backward only where it is
///          faster than ours (cudnn_backward_is_faster, single_pass_is_faster)
///   wgmma  our kernels on Hopper: 16-bit types, head_dim 64 or 128, 16-byte alignment; backward in a single pass with
///          head_dim 128, where that is faster and need not be deterministic
///   mma    our kernels with older matrix instructions: the same
///   plain  our kernels with plain arithmetic: everything
/// PRIMUS_ATTENTION=wgmma, =mma or =plain leaves out those before it (to compare, or to do without cuDNN's workspace).
namespace primus::ops::gpu {
namespace {

enum class Implementation { kCudnn, kWgmma, kMma, kPlain };

Implementation first_allowed() {
  const char* setting = std::getenv("PRIMUS_ATTENTION");
  const std::string_view name = setting == nullptr ? "" : setting;
  if (name == "wgmma") return Implementation::kWgmma;
  if (name == "mma") return Implementation::kMma;
  return name == "plain" ? Implementation::kPlain : Implementation::kCudnn;
}

/// The first of our kernels that can run on these tensors.
template <typename T, typename... Tensors>
Implementation own_kernel(const Stream& stream, const AttentionShape& shape, const Tensors&... tensors) {
  const bool has_tiles = sizeof(T) == 2 && (shape.head_dim == 64 || shape.head_dim == 128);
  if (!has_tiles || !packs_fit(kPackWidth<T>, tensors...)) return Implementation::kPlain;
  const Implementation first = flash_has_wgmma(limits_of(stream)) ? Implementation::kWgmma : Implementation::kMma;
  return std::max(first, first_allowed());
}

/// Their length, if all documents have the same, one that micro-batches have (data::kTokenMultiple): then they are few,
/// and a plan of cuDNN for each is worth its making. No document is longer than max_seqlen, so they sum up to all
/// tokens.
std::optional<EqualDocuments> equal_documents(const Tensor& cu_seqlens, std::int64_t max_seqlen, std::int64_t tokens) {
  const EqualDocuments documents = {.count = cu_seqlens.columns() - 1, .length = max_seqlen};
  constexpr std::int64_t kMost = 64;  // each costs a copy of statistics (attention_cudnn.cpp)
  constexpr std::int64_t kLengths = 64;
  if (documents.count > kMost || documents.length % kLengths != 0) return std::nullopt;
  if (documents.count * documents.length != tokens) return std::nullopt;
  return documents;
}

/// Measured on an H100 (bench/results/2026-11-23-cuda-runs.md): over many short documents our kernels on Hopper are up
/// to 1.4 times as fast; one or two leave most of their blocks without work.
bool cudnn_backward_is_faster(const Stream& stream, const EqualDocuments& documents) {
  constexpr std::int64_t kFew = 2, kShortest = 512, kShortestOfMany = 1024;
  const bool are_many = documents.count > kFew && flash_has_wgmma(limits_of(stream));
  return documents.length >= (are_many ? kShortestOfMany : kShortest);
}

FlashShape flash_shape(const AttentionShape& shape, const Tensor& cu_seqlens, const Tensor& q) {
  return {.cu_seqlens = cu_seqlens.as<std::int32_t>(),
          .documents = static_cast<int>(cu_seqlens.columns()) - 1,
          .tokens = q.rows(),
          .kv_heads = shape.kv_heads,
          .group = QueryGroup(shape.heads / shape.kv_heads),
          .head_dim = shape.head_dim,
          .scale = shape.scale};
}

template <typename... Tensors>
bool cudnn_fits(const Tensor& q, const Tensors&... others) {
  return first_allowed() == Implementation::kCudnn && size_of(q.dtype()) == 2 && packs_fit(8, q, others...);
}

/// Measured on an H100 (bench/results/2026-11-23-cuda-attention.md): our two kernels are faster over many short
/// documents; few leave most of their blocks without work.
bool single_pass_is_faster(std::int64_t max_seqlen, std::int64_t tokens) {
  constexpr std::int64_t kFewTokens = 2048, kShortest = 256, kShortestOfMany = 512;
  return max_seqlen >= (tokens < kFewTokens ? kShortest : kShortestOfMany);
}

bool has_single_pass(const DeviceLimits& limits, DType dtype, const AttentionShape& shape) {
  const bool is_allowed = first_allowed() <= Implementation::kWgmma && !shape.deterministic;
  return is_allowed && size_of(dtype) == 2 && shape.head_dim == kSinglePassHeadDim && flash_has_wgmma(limits);
}

/// Heads that take turns share out the work most evenly, but what all of them read and add to has to lie in L2.
/// Measured on an H100 (bench/results/2026-11-23-cuda-train-by-head.md): one head after the other is up to a fifth
/// faster where dq's sums are more than twice L2; elsewhere it is no faster, or slower.
bool single_pass_goes_by_head(const Stream& stream, const AttentionBackward& args) {
  const std::int64_t sums = args.max_seqlen * args.q.columns() * std::int64_t{sizeof(float)};
  return static_cast<std::size_t>(sums) > 2 * limits_of(stream).l2_bytes;
}

bool runs_single_pass(const Stream& stream, const AttentionBackward& args) {
  return single_pass_is_faster(args.max_seqlen, args.q.rows()) &&
         has_single_pass(limits_of(stream), args.q.dtype(), args.shape) &&
         packs_fit(8, args.q, args.k, args.v, args.out, args.d_out, args.d_q, args.d_k, args.d_v);
}

template <typename T>
FlashBackward<T> flash_backward(const AttentionBackward& args) {
  return {.shape = flash_shape(args.shape, args.cu_seqlens, args.q),
          .q = rows_of<const T>(args.q),
          .k = rows_of<const T>(args.k),
          .v = rows_of<const T>(args.v),
          .out = rows_of<const T>(args.out),
          .d_out = rows_of<const T>(args.d_out),
          .d_q = rows_of<T>(args.d_q),
          .d_k = rows_of<T>(args.d_k),
          .d_v = rows_of<T>(args.d_v),
          .lse = args.lse.as<float>(),
          .lse_stride = args.lse.row_stride(),
          .delta = static_cast<float*>(args.workspace.data())};
}

/// body(T{}) for a type of 16 bits.
template <typename Body>
void with_16_bits(DType dtype, const Body& body) {
  PRIMUS_CHECK(size_of(dtype) == 2, name_of(dtype));
  if (dtype == DType::kF16) {
    body(F16{});
  } else {
    body(BF16{});
  }
}

/// dq's sums.
Tensor single_pass_backward(Stream& stream, const AttentionBackward& args) {
  float* sums = nullptr;
  with_16_bits(args.q.dtype(), [&](auto element) {
    const auto flash = flash_backward<decltype(element)>(args);
    const bool by_head = single_pass_goes_by_head(stream, args);
    sums = flash_single_pass_backward(stream_of(stream), flash, by_head, args.workspace.data()).data;
  });
  GPU_LAUNCH_CHECK(stream, "attention_backward");
  return {sums, DType::kF32, stream.device(), args.q.numel()};
}

void round_sums(Stream& stream, const Tensor& sums, const AttentionBackward& args) {
  with_16_bits(args.d_q.dtype(), [&](auto element) {
    round_query_sums(stream_of(stream), {sums.as<float>(), args.d_q.rows()}, args.shape.heads,
                     rows_of<decltype(element)>(args.d_q));
  });
  GPU_LAUNCH_CHECK(stream, "attention_backward, rounding");
}

}  // namespace

void attention_forward(Stream& stream, const AttentionForward& args) {
  if (cudnn_fits(args.q, args.k, args.v, args.out)) {
    const auto documents = equal_documents(args.cu_seqlens, args.max_seqlen, args.q.rows());
    if (documents && cudnn_attention_forward(stream, args, *documents)) return;
  }
  with_element_type(args.q.dtype(), [&](auto element) {
    using T = decltype(element);
    const FlashForward<T> flash = {.shape = flash_shape(args.shape, args.cu_seqlens, args.q),
                                   .q = rows_of<const T>(args.q),
                                   .k = rows_of<const T>(args.k),
                                   .v = rows_of<const T>(args.v),
                                   .out = rows_of<T>(args.out),
                                   .lse = args.lse ? args.lse.as<float>() : nullptr,
                                   .lse_stride = args.lse.row_stride()};
    if constexpr (sizeof(T) == 2) {
      const Implementation kernel = own_kernel<T>(stream, args.shape, args.q, args.k, args.v, args.out);
      if (kernel == Implementation::kWgmma) return flash_wgmma_forward(stream_of(stream), flash);
      if (kernel == Implementation::kMma) return flash_mma_forward(stream_of(stream), flash);
    }
    flash_plain_forward(stream_of(stream), flash);
  });
  GPU_LAUNCH_CHECK(stream, "attention_forward");
}

std::size_t attention_backward_workspace(Device device, DType dtype, const AttentionShape& shape, std::int64_t tokens) {
  const std::size_t delta = static_cast<std::size_t>(shape.heads) * static_cast<std::size_t>(tokens) * sizeof(float);
  if (size_of(dtype) != 2 || shape.deterministic) return delta;
  if (has_single_pass(query_limits(device.index), dtype, shape)) {  // cuDNN runs for no document that it does not
    return flash_single_pass_workspace(shape.heads, tokens);
  }
  return first_allowed() == Implementation::kCudnn ? cudnn_attention_backward_workspace(shape, tokens) : delta;
}

Tensor attention_backward_sums(Stream& stream, const AttentionBackward& args) {
  if (runs_single_pass(stream, args)) return single_pass_backward(stream, args);
  if (!args.shape.deterministic &&
      cudnn_fits(args.q, args.k, args.v, args.out, args.d_out, args.d_q, args.d_k, args.d_v)) {
    const auto documents = equal_documents(args.cu_seqlens, args.max_seqlen, args.q.rows());
    const bool is_faster = documents && cudnn_backward_is_faster(stream, *documents);
    if (is_faster && cudnn_attention_backward(stream, args, *documents)) return {};
  }
  with_element_type(args.q.dtype(), [&](auto element) {
    using T = decltype(element);
    const FlashBackward<T> flash = flash_backward<T>(args);
    if constexpr (sizeof(T) == 2) {
      const Implementation kernel =
          own_kernel<T>(stream, args.shape, args.q, args.k, args.v, args.out, args.d_out, args.d_q, args.d_k, args.d_v);
      if (kernel == Implementation::kWgmma) return flash_wgmma_backward(stream_of(stream), flash);
      if (kernel == Implementation::kMma) return flash_mma_backward(stream_of(stream), flash);
    }
    flash_plain_backward(stream_of(stream), flash);
  });
  GPU_LAUNCH_CHECK(stream, "attention_backward");
  return {};
}

void attention_backward(Stream& stream, const AttentionBackward& args) {
  const Tensor sums = gpu::attention_backward_sums(stream, args);
  if (sums) round_sums(stream, sums, args);
}

void attention_decode(Stream& stream, const AttentionDecode& args) {
  with_element_type(args.q.dtype(), [&](auto element) {
    using T = decltype(element);
    flash_decode<T>(stream_of(stream), {.q = rows_of<const T>(args.q),
                                        .k = rows_of<const T>(args.k),
                                        .v = rows_of<const T>(args.v),
                                        .k_cache = rows_of<T>(args.k_cache),
                                        .v_cache = rows_of<T>(args.v_cache),
                                        .out = rows_of<T>(args.out),
                                        .slots = args.slots.as<std::int32_t>(),
                                        .positions = args.positions.as<std::int32_t>(),
                                        .capacity = args.capacity,
                                        .tokens = static_cast<int>(args.q.rows()),
                                        .kv_heads = args.shape.kv_heads,
                                        .group = args.shape.heads / args.shape.kv_heads,
                                        .head_dim = args.shape.head_dim,
                                        .scale = args.shape.scale});
  });
  GPU_LAUNCH_CHECK(stream, "attention_decode");
}

}  // namespace primus::ops::gpu
