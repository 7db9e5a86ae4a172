#include "ops/cpu/kernels/level.h"
#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

template <typename T>
void rms_norm(const RmsNormArgs& args, Index begin, Index end) {
  const T* weight = static_cast<const T*>(args.weight);
  for (Index t = begin; t < end; ++t) {
    const T* x = static_cast<const T*>(args.x.data) + t * args.x.stride;
    Vec squares{};
    for_lanes(args.columns, [&](Index j, auto lanes) {
      const Vec value = load(x + j, lanes);
      squares += value * value;
    });
    const float rstd = 1.0F / __builtin_sqrtf(sum(squares) / static_cast<float>(args.columns) + args.eps);
    T* y = static_cast<T*>(args.y.data) + t * args.y.stride;
    for_lanes(args.columns, [&](Index j, auto lanes) {
      store(y + j, rounded_to(load(x + j, lanes) * rstd, T{}) * load(weight + j, lanes), lanes);
    });
    if (args.rstd != nullptr) args.rstd[t] = rstd;
  }
}

template <typename T>
void rms_norm_backward(const RmsNormBackwardArgs& args, float* d_weight, Index begin, Index end) {
  const T* weight = static_cast<const T*>(args.weight);
  for (Index t = begin; t < end; ++t) {
    const T* dy = static_cast<const T*>(args.dy.data) + t * args.dy.stride;
    const T* x = static_cast<const T*>(args.x.data) + t * args.x.stride;
    const T* residual = static_cast<const T*>(args.d_residual.data);
    if (residual != nullptr) residual += t * args.d_residual.stride;
    T* dx = static_cast<T*>(args.dx.data) + t * args.dx.stride;
    const float rstd = args.rstd[t];
    Vec products{};
    for_lanes(args.columns, [&](Index j, auto lanes) {
      products += load(dy + j, lanes) * load(weight + j, lanes) * load(x + j, lanes);
    });
    // dx = rstd·(dy·w − x̂·mean(dy·w·x̂)), x̂ = x·rstd
    const float mean = sum(products) * rstd / static_cast<float>(args.columns);
    for_lanes(args.columns, [&](Index j, auto lanes) {
      const Vec gradient = load(dy + j, lanes), normed = load(x + j, lanes) * rstd;
      Vec value = (gradient * load(weight + j, lanes) - normed * mean) * rstd;
      if (residual != nullptr) value += load(residual + j, lanes);
      if (d_weight != nullptr) store(d_weight + j, load(d_weight + j, lanes) + gradient * normed, lanes);
      store(dx + j, value, lanes);
    });
  }
}

template <typename T>
void column_sums(const Rows& x, Index columns, float* sums, Index begin, Index end) {
  for (Index t = begin; t < end; ++t) {
    const T* row = static_cast<const T*>(x.data) + t * x.stride;
    for_lanes(columns,
              [&](Index j, auto lanes) { store(sums + j, load(sums + j, lanes) + load(row + j, lanes), lanes); });
  }
}

template <typename T>
void fill(ElementKernels& table) {
  table.rms_norm = rms_norm<T>;
  table.rms_norm_backward = rms_norm_backward<T>;
  table.column_sums = column_sums<T>;
}

}  // namespace

void fill_norm(Kernels& table) {
  fill<float>(table.element[0]);
  fill<BF16>(table.element[1]);
  fill<F16>(table.element[2]);
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
