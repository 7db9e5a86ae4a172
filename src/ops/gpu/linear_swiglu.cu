#include <string_view>

#include "ops/gpu/linear_swiglu.cuh"
#include "ops/gpu/table.h"
#include "ops/gpu/tensor_map.h"

namespace primus::ops::gpu {
namespace linear_swiglu {
namespace {

bool has_kernel(const DeviceLimits& limits) {
  constexpr bool kCompiled = std::string_view(PRIMUS_GPU_ARCHITECTURES).find("90a") != std::string_view::npos;
  return kCompiled && limits.compute_capability == 90;
}

Tensor half_of(const Tensor& gate_up, Index half) {
  const Index width = gate_up.columns() / 2;
  return gate_up.columns(half * width, (half + 1) * width);
}

/// What the copy engine asks of a matrix.
bool is_boxed(const Tensor& matrix) {
  constexpr std::size_t kAlignment = 16;
  return reinterpret_cast<std::uintptr_t>(matrix.data()) % kAlignment == 0 &&
         static_cast<std::size_t>(matrix.row_stride()) * size_of(matrix.dtype()) % kAlignment == 0;
}
bool halves_are_boxed(const Tensor& gate_up) { return is_boxed(half_of(gate_up, 0)) && is_boxed(half_of(gate_up, 1)); }

bool fits(const LinearSwigluForward& args) {
  constexpr Index kRowsThatPay = 64;  // fewer are bound by reading W
  return args.x.rows() >= kRowsThatPay && args.bias.empty() && args.weight.numel() > 0 && is_boxed(args.x) &&
         is_boxed(args.weight) && halves_are_boxed(args.gate_up) && (args.out.empty() || is_boxed(args.out));
}
bool fits(const LinearSwigluBackward& args) {
  return args.weight.numel() > 0 && is_boxed(args.dy) && is_boxed(args.weight) && halves_are_boxed(args.gate_up) &&
         halves_are_boxed(args.d_gate_up) && is_boxed(args.out);
}

/// How many tiles there are, and maps of what is written.
template <Direction kDirection>
Arguments arguments(const Tensor& left, const Tensor& gate_up_out, const Tensor& out) {
  using Bytes = Layout<kDirection>;
  const Tensor gate_out = half_of(gate_up_out, 0), up_out = half_of(gate_up_out, 1);
  const auto map = [](const Tensor& matrix) { return tensor_map(matrix, 64, Bytes::kChunkColumns); };
  return {.left = tensor_map(left, kRows),
          .gate_out = map(gate_out),
          .up_out = map(up_out),
          .out = map(out ? out : gate_out),
          .has_out = !out.empty(),
          .row_pairs = static_cast<int>(divide_up(left.rows(), kCluster * kRows)),
          .column_tiles = static_cast<int>(divide_up(gate_out.columns(), Bytes::kTileColumns)),
          .depth_tiles = static_cast<int>(divide_up(left.columns(), kDepth))};
}

Arguments arguments(const LinearSwigluForward& args) {
  const Index width = args.weight.rows() / 2;
  Arguments all = arguments<Direction::kForward>(args.x, args.gate_up, args.out);
  for (Index half = 0; half < kCluster; ++half) {
    all.weights[half] = tensor_map(args.weight.slice(half * width, (half + 1) * width), kColumns / kCluster);
  }
  return all;
}

Arguments arguments(const LinearSwigluBackward& args) {
  Arguments all = arguments<Direction::kBackward>(args.dy, args.d_gate_up, args.out);
  all.weights[0] = all.weights[1] = tensor_map(args.weight, kDepth / kCluster);
  all.gate = tensor_map(half_of(args.gate_up, 0), 64);
  all.up = tensor_map(half_of(args.gate_up, 1), 64);
  return all;
}

template <typename T, Direction kDirection>
void launch(const Stream& stream, const Arguments& args, const char* what) {
  constexpr int kBytes = Layout<kDirection>::kBytes;
  const auto kernel = linear_swiglu_kernel<T, kDirection>;
  GPU_CHECK(
      gpuFuncSetAttribute(reinterpret_cast<const void*>(kernel), gpuFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const int clusters = std::min(args.row_pairs * args.column_tiles, limits_of(stream).multiprocessors / kCluster);
  kernel<<<static_cast<unsigned>(kCluster * clusters), kThreads, kBytes, stream_of(stream)>>>(args);
  GPU_LAUNCH_CHECK(stream, what);
}

template <Direction kDirection, typename Args>
bool run(Stream& stream, const Args& args, DType dtype, const char* what) {
  if (dtype == DType::kF32 || !has_kernel(limits_of(stream)) || !fits(args)) return false;
  const Observed observed(stream, WorkKind::kGemm, what);
  if (dtype == DType::kF16) {
    launch<F16, kDirection>(stream, arguments(args), what);
  } else {
    launch<BF16, kDirection>(stream, arguments(args), what);
  }
  return true;
}

}  // namespace
}  // namespace linear_swiglu

bool linear_swiglu_forward(Stream& stream, const LinearSwigluForward& args) {
  using namespace linear_swiglu;
  return run<Direction::kForward>(stream, args, args.x.dtype(), "linear_swiglu_forward");
}

bool linear_swiglu_backward(Stream& stream, const LinearSwigluBackward& args) {
  using namespace linear_swiglu;
  return run<Direction::kBackward>(stream, args, args.dy.dtype(), "linear_swiglu_backward");
}

}  // namespace primus::ops::gpu
