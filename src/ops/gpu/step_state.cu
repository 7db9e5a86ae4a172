#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

constexpr int kSumThreads = 1024;

StepState* state_of(const Tensor& state) { return static_cast<StepState*>(state.data()); }

__global__ void begin_step_kernel(StepState* state) {
  state->loss_sum = 0.0;
  state->grad_sq_sum = 0.0;
}

/// *target += Σ values, by one block
template <typename V>
__global__ void __launch_bounds__(kSumThreads) add_sum_kernel(const V* values, Index count, double* target) {
  double sum = 0.0;
  for (Index i = threadIdx.x; i < count; i += blockDim.x) sum += static_cast<double>(values[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *target += sum;
}

template <int kWidth, typename T>
__device__ double squares_of(const T* from) {
  const auto values = load<kWidth>(from);
  double sum = 0.0;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return sum;
}

/// partial[block] = Σ of the squares of every gridDim'th block of packs
template <typename T, int kWidth>
__global__ void __launch_bounds__(kBlockThreads) squared_norm_kernel(const T* grads, Index count, double* partial) {
  const Index packs = count / kWidth, step = static_cast<Index>(gridDim.x) * blockDim.x;
  const Index thread = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  double sum = 0.0;
#pragma unroll 4
  for (Index pack = thread; pack < packs; pack += step) sum += squares_of<kWidth>(grads + pack * kWidth);
  const Index rest = packs * kWidth + thread;  // of the last pack, if it is not whole
  if (rest < count) sum += squares_of<1>(grads + rest);
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// decide_step of ops/step_state.h; the CPU's text in ops/cpu/optimizer.cpp is the same.
__global__ void decide_step_kernel(StepState* target, DecideStep args) {
  StepState state = *target;
  state.grad_norm = sqrt(state.grad_sq_sum) / state.loss_scale;
  const bool finite = isfinite(state.grad_norm) && isfinite(state.loss_sum);
  const double clipping = args.clip_grad > 0.0 ? fmin(1.0, args.clip_grad / (state.grad_norm + 1e-6)) : 1.0;
  state.grad_multiplier = clipping / state.loss_scale;
  if (finite) {
    state.skip = 0;
    ++state.updates;
    state.skipped_in_a_row = 0;
    ++state.finite_in_a_row;
  } else {
    state.skip = 1;
    ++state.skipped;
    ++state.skipped_in_a_row;
    state.finite_in_a_row = 0;
  }
  if (args.dynamic_loss_scale) {
    double scale = state.loss_scale;
    if (!finite) scale *= args.backoff_factor;
    if (state.finite_in_a_row >= args.growth_interval) {
      scale *= args.growth_factor;
      state.finite_in_a_row = 0;
    }
    state.loss_scale = fmin(fmax(scale, args.min_loss_scale), args.max_loss_scale);
  }
  *target = state;
}

}  // namespace

void begin_step(Stream& stream, const Tensor& state) {
  begin_step_kernel<<<1, 1, 0, stream_of(stream)>>>(state_of(state));
  GPU_LAUNCH_CHECK(stream, "begin_step");
}

void add_loss(Stream& stream, const Tensor& loss, const Tensor& state) {
  add_sum_kernel<<<1, kSumThreads, 0, stream_of(stream)>>>(elements_of<const float>(loss), loss.numel(),
                                                           &state_of(state)->loss_sum);
  GPU_LAUNCH_CHECK(stream, "add_loss");
}

void add_squared_norm(Stream& stream, const Tensor& grads, const Tensor& state) {
  const Workspace workspace = workspace_of(stream);
  auto* partial = static_cast<double*>(workspace.data);
  const gpuStream_t on = stream_of(stream);
  const Index count = grads.numel();
  Index blocks = 0;
  with_state_type(grads.dtype(), [&](auto type) {
    using T = decltype(type);
    const bool aligned = reinterpret_cast<std::uintptr_t>(grads.data()) % kAccessBytes == 0;
    const auto kernel = aligned ? squared_norm_kernel<T, kPackWidth<T>> : squared_norm_kernel<T, 1>;
    blocks = std::min(divide_up(count, kBlockThreads), resident_blocks(stream, kernel, kBlockThreads));
    PRIMUS_CHECK(blocks * sizeof(double) <= workspace.bytes, blocks, workspace.bytes);
    kernel<<<static_cast<unsigned>(blocks), kBlockThreads, 0, on>>>(elements_of<const T>(grads), count, partial);
  });
  GPU_LAUNCH_CHECK(stream, "add_squared_norm");
  add_sum_kernel<<<1, kSumThreads, 0, on>>>(partial, blocks, &state_of(state)->grad_sq_sum);
  GPU_LAUNCH_CHECK(stream, "add_squared_norm, sums");
}

void decide_step(Stream& stream, const DecideStep& args) {
  decide_step_kernel<<<1, 1, 0, stream_of(stream)>>>(state_of(args.state), args);
  GPU_LAUNCH_CHECK(stream, "decide_step");
}

}  // namespace primus::ops::gpu
