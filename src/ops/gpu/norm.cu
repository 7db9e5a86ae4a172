#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/partial_sums.cuh"
#include "ops/gpu/table.h"

/// A block handles a row and keeps it in registers, so that everything is read once: kPacks packs a thread,
/// `blockDim.x` packs apart.
namespace primus::ops::gpu {
namespace {

/// A pack a thread where 1024 threads suffice: many threads keep more loads in flight than many registers.
constexpr int max_threads(int packs) { return packs == 4 ? 512 : 1024; }

/// body(i, column) for each pack of the row that this thread keeps.
template <int kWidth, int kPacks, typename Body>
__device__ __forceinline__ void for_own_packs(int columns, const Body& body) {
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int column = static_cast<int>(threadIdx.x + i * blockDim.x) * kWidth;
    if (column < columns) body(i, column);
  }
}

/// body(Int<packs>{}, threads) for rows of `columns` elements.
template <int kWidth, typename Body>
void with_block_of_row(Index columns, const Body& body) {
  const Index packs = columns / kWidth;
  const auto try_packs = [&](auto count) {
    if (packs > Index{count} * max_threads(count)) return false;
    const auto threads = static_cast<int>(divide_up(packs, Index{count}));
    body(count, divide_up(threads, kWarpSize) * kWarpSize);
    return true;
  };
  bool found = false;
  if constexpr (kWidth == 1) {
    found = try_packs(Int<4>{}) || try_packs(Int<32>{});
  } else {
    found = try_packs(Int<1>{}) || try_packs(Int<4>{}) || try_packs(Int<8>{});
  }
  PRIMUS_CHECK(found, columns);
}

template <typename T>
struct Forward {
  Rows<const T> x;
  const T* weight;
  Rows<T> y;
  float* rstd;
  int columns;
  float eps;
};

template <typename T, int kWidth, int kPacks>
__global__ void __launch_bounds__(max_threads(kPacks)) forward_kernel(Forward<T> args) {
  const Index row = blockIdx.x;
  Pack<T, kWidth> x[kPacks];
  for_own_packs<kWidth, kPacks>(args.columns,
                                [&](int i, int column) { x[i] = load_pack<kWidth>(args.x.at(row, column)); });
  float squares = 0.0F;
  for_own_packs<kWidth, kPacks>(args.columns, [&](int i, int) {
    const auto values = unpacked(x[i]);
#pragma unroll
    for (int e = 0; e < kWidth; ++e) squares += values[e] * values[e];
  });
  const float rstd = rsqrtf(block_sum(squares) / static_cast<float>(args.columns) + args.eps);
  for_own_packs<kWidth, kPacks>(args.columns, [&](int i, int column) {
    auto normed = unpacked(x[i]);
#pragma unroll
    for (int e = 0; e < kWidth; ++e) normed[e] *= rstd;
    const auto weight = load_pack<kWidth>(args.weight + column);
    store_pack(args.y.at(row, column), product(packed<T>(normed), weight));
  });
  if (args.rstd != nullptr && threadIdx.x == 0) args.rstd[row] = rstd;
}

template <typename T>
struct Backward {
  Rows<const T> dy;
  Rows<const T> x;
  const T* weight;
  const float* rstd;
  Rows<const T> d_residual;  // or not there
  Rows<T> dx;
  Index rows;
  int columns;
  float* d_weight;  // partial sums, (blocks, columns)
};

/// dx = rstd·(dy·w − x̂·mean(dy·w·x̂)) + d_residual, x̂ = x·rstd
template <typename T, int kWidth, int kPacks, bool kSumWeights>
__global__ void __launch_bounds__(max_threads(kPacks)) backward_kernel(Backward<T> args) {
  Floats<kWidth> d_weight[kPacks] = {};
  for (Index row = blockIdx.x; row < args.rows; row += gridDim.x) {
    Pack<T, kWidth> dy[kPacks], x[kPacks], residual[kPacks] = {};
    for_own_packs<kWidth, kPacks>(args.columns, [&](int i, int column) {
      dy[i] = load_pack<kWidth>(args.dy.at(row, column));
      x[i] = load_pack<kWidth>(args.x.at(row, column));
      if (args.d_residual) residual[i] = load_pack<kWidth>(args.d_residual.at(row, column));
    });
    const float rstd = args.rstd[row];
    float products = 0.0F;
    for_own_packs<kWidth, kPacks>(args.columns, [&](int i, int column) {
      const auto gradient = unpacked(dy[i]), value = unpacked(x[i]), weight = load<kWidth>(args.weight + column);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) products += gradient[e] * weight[e] * value[e];
    });
    const float mean = block_sum(products) * rstd / static_cast<float>(args.columns);
    for_own_packs<kWidth, kPacks>(args.columns, [&](int i, int column) {
      const auto gradient = unpacked(dy[i]), value = unpacked(x[i]), weight = load<kWidth>(args.weight + column);
      auto result = unpacked(residual[i]);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const float normed = value[e] * rstd;
        result[e] += (gradient[e] * weight[e] - normed * mean) * rstd;
        if constexpr (kSumWeights) d_weight[i][e] += gradient[e] * normed;
      }
      store(args.dx.at(row, column), result);
    });
  }
  if constexpr (kSumWeights) {
    for_own_packs<kWidth, kPacks>(args.columns, [&](int i, int column) {
      store(args.d_weight + static_cast<Index>(blockIdx.x) * args.columns + column, d_weight[i]);
    });
  }
}

template <typename T, int kWidth>
void backward(Stream& stream, const RmsNormBackward& args) {
  const Tensor& x = args.x;
  Backward<T> kernel_args = {.dy = rows_of<const T>(args.dy),
                             .x = rows_of<const T>(x),
                             .weight = elements_of<const T>(args.weight),
                             .rstd = elements_of<const float>(args.rstd),
                             .d_residual = rows_of<const T>(args.d_residual),
                             .dx = rows_of<T>(args.dx),
                             .rows = x.rows(),
                             .columns = static_cast<int>(x.columns()),
                             .d_weight = nullptr};
  with_block_of_row<kWidth>(x.columns(), [&](auto packs, int threads) {
    const gpuStream_t on = stream_of(stream);
    if (args.d_weight.empty()) {
      const auto blocks = static_cast<unsigned>(x.rows());
      backward_kernel<T, kWidth, packs, false><<<blocks, threads, 0, on>>>(kernel_args);
      GPU_LAUNCH_CHECK(stream, "rms_norm_backward");
      return;
    }
    const auto kernel = backward_kernel<T, kWidth, packs, true>;
    const Index blocks = std::min(x.rows(), resident_blocks(stream, kernel, threads));
    const PartialSums partial = partial_sums_of(stream, blocks, x.columns());
    kernel_args.d_weight = partial.data;
    kernel<<<partial.count, threads, 0, on>>>(kernel_args);
    GPU_LAUNCH_CHECK(stream, "rms_norm_backward");
    add_partial_sums(stream, "rms_norm_backward, d_weight", {partial, args.d_weight});
  });
}

}  // namespace

void rms_norm_forward(Stream& stream, const RmsNormForward& args) {
  with_element_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const Forward<T> kernel_args = {.x = rows_of<const T>(args.x),
                                    .weight = elements_of<const T>(args.weight),
                                    .y = rows_of<T>(args.y),
                                    .rstd = elements_of<float>(args.rstd),
                                    .columns = static_cast<int>(args.x.columns()),
                                    .eps = args.eps};
    const auto blocks = static_cast<unsigned>(args.x.rows());
    with_pack_width<T>(
        [&](auto width) {
          with_block_of_row<width>(args.x.columns(), [&](auto packs, int threads) {
            forward_kernel<T, width, packs><<<blocks, threads, 0, stream_of(stream)>>>(kernel_args);
          });
        },
        args.x, args.weight, args.y);
  });
  GPU_LAUNCH_CHECK(stream, "rms_norm_forward");
}

void rms_norm_backward(Stream& stream, const RmsNormBackward& args) {
  with_element_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>([&](auto width) { backward<T, width>(stream, args); }, args.dy, args.x, args.weight,
                       args.d_residual, args.dx);
  });
}

}  // namespace primus::ops::gpu
