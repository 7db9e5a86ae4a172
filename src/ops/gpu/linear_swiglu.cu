#include <string_view>

#include "ops/gpu/linear_swiglu.cuh"
#include "ops/gpu/table.h"
#include "ops/gpu/tensor_map.h"

namespace primus::ops::gpu {
namespace linear_swiglu {
namespace {

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

bool fits(const LinearSwigluBackward& args) {
  const auto halves_fit = [](const Tensor& both) { return is_boxed(half_of(both, 0)) && is_boxed(half_of(both, 1)); };
  return args.weight.numel() > 0 && is_boxed(args.dy) && is_boxed(args.weight) && halves_fit(args.gate_up) &&
         halves_fit(args.d_gate_up) && is_boxed(args.out);
}

Arguments arguments(const LinearSwigluBackward& args) {
  return {.dy = tensor_map(args.dy, kRows),
          .weight = tensor_map(args.weight, kDepth / kCluster),
          .gate = tensor_map(half_of(args.gate_up, 0), 64),
          .up = tensor_map(half_of(args.gate_up, 1), 64),
          .d_gate = tensor_map(half_of(args.d_gate_up, 0), 64),
          .d_up = tensor_map(half_of(args.d_gate_up, 1), 64),
          .out = tensor_map(args.out, 64),
          .row_pairs = static_cast<int>(divide_up(args.dy.rows(), kCluster * kRows)),
          .column_tiles = static_cast<int>(divide_up(args.weight.columns(), kColumns)),
          .depth_tiles = static_cast<int>(divide_up(args.weight.rows(), kDepth))};
}

template <typename T>
void run(Stream& stream, const LinearSwigluBackward& args) {
  const auto kernel = backward_kernel<T>;
  GPU_CHECK(gpuFuncSetAttribute(reinterpret_cast<const void*>(kernel), gpuFuncAttributeMaxDynamicSharedMemorySize,
                                Layout::kBytes));
  const Arguments all = arguments(args);
  const int clusters = std::min(all.row_pairs * all.column_tiles, limits_of(stream).multiprocessors / kCluster);
  kernel<<<static_cast<unsigned>(kCluster * clusters), kThreads, Layout::kBytes, stream_of(stream)>>>(all);
  GPU_LAUNCH_CHECK(stream, "linear_swiglu_backward");
}

bool has_kernel(const DeviceLimits& limits) {
  constexpr bool kCompiled = std::string_view(PRIMUS_GPU_ARCHITECTURES).find("90a") != std::string_view::npos;
  return kCompiled && limits.compute_capability == 90;
}

}  // namespace
}  // namespace linear_swiglu

bool linear_swiglu_backward(Stream& stream, const LinearSwigluBackward& args) {
  using namespace linear_swiglu;
  if (!has_kernel(limits_of(stream)) || !fits(args)) return false;
  switch (args.dy.dtype()) {
    case DType::kBF16:
      run<BF16>(stream, args);
      return true;
    case DType::kF16:
      run<F16>(stream, args);
      return true;
    default:
      return false;
  }
}

}  // namespace primus::ops::gpu
