#include "ops/cpu/kernels/level.h"
#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

template <typename T>
float rstd_of(const T* x, Index size, float eps) {
  Vec squares{};
  for_lanes(size, [&](Index j, auto lanes) {
    const Vec value = load(x + j, lanes);
    squares += value * value;
  });
  return 1.0F / __builtin_sqrtf(sum(squares) / static_cast<float>(size) + eps);
}

template <typename T>
void rope(const RopeArgs& args, Index begin, Index end) {
  const Index half = args.head_dim / 2;
  const T* weight = static_cast<const T*>(args.weight);
  for (Index t = begin; t < end; ++t) {
    const float* cos = args.cos + args.positions[t] * args.angle_stride;
    const float* sin = args.sin + args.positions[t] * args.angle_stride;
    for (Index head = 0; head < args.heads; ++head) {
      const T* x = static_cast<const T*>(args.x.data) + t * args.x.stride + head * args.head_dim;
      T* out = static_cast<T*>(args.out.data) + t * args.out.stride + head * args.head_dim;
      float rstd = 1.0F;
      if (weight != nullptr) {
        rstd = rstd_of(x, args.head_dim, args.eps);
        if (args.rstd != nullptr) args.rstd[t * args.rstd_stride + head] = rstd;
      }
      for_lanes(half, [&](Index j, auto lanes) {
        Vec a = load(x + j, lanes), b = load(x + half + j, lanes);
        if (weight != nullptr) {
          a = rounded_to(rounded_to(a * rstd, T{}) * load(weight + j, lanes), T{});
          b = rounded_to(rounded_to(b * rstd, T{}) * load(weight + half + j, lanes), T{});
        }
        const Vec c = load(cos + j, lanes), s = load(sin + j, lanes);
        store(out + j, a * c - b * s, lanes);
        store(out + half + j, b * c + a * s, lanes);
      });
    }
  }
}

template <typename T>
void rope_backward(const RopeBackwardArgs& args, float* d_weight, Index begin, Index end) {
  const Index half = args.head_dim / 2;
  const T* weight = static_cast<const T*>(args.weight);
  for (Index t = begin; t < end; ++t) {
    const float* cos = args.cos + args.positions[t] * args.angle_stride;
    const float* sin = args.sin + args.positions[t] * args.angle_stride;
    for (Index head = 0; head < args.heads; ++head) {
      const T* dy = static_cast<const T*>(args.d_out.data) + t * args.d_out.stride + head * args.head_dim;
      T* dx = static_cast<T*>(args.dx.data) + t * args.dx.stride + head * args.head_dim;
      if (weight == nullptr) {
        for_lanes(half, [&](Index j, auto lanes) {
          const Vec a = load(dy + j, lanes), b = load(dy + half + j, lanes);
          const Vec c = load(cos + j, lanes), s = load(sin + j, lanes);
          store(dx + j, a * c + b * s, lanes);
          store(dx + half + j, b * c - a * s, lanes);
        });
        continue;
      }
      const T* x = static_cast<const T*>(args.x.data) + t * args.x.stride + head * args.head_dim;
      const float rstd = args.rstd[t * args.rstd_stride + head];
      Vec products{};
      for_lanes(half, [&](Index j, auto lanes) {
        const Vec a = load(dy + j, lanes), b = load(dy + half + j, lanes);
        const Vec c = load(cos + j, lanes), s = load(sin + j, lanes);
        products += (a * c + b * s) * load(weight + j, lanes) * load(x + j, lanes);
        products += (b * c - a * s) * load(weight + half + j, lanes) * load(x + half + j, lanes);
      });
      const float mean = sum(products) * rstd / static_cast<float>(args.head_dim);
      for_lanes(half, [&](Index j, auto lanes) {
        const Vec a = load(dy + j, lanes), b = load(dy + half + j, lanes);
        const Vec c = load(cos + j, lanes), s = load(sin + j, lanes);
        const Vec da = a * c + b * s, db = b * c - a * s;
        const Vec normed_a = load(x + j, lanes) * rstd, normed_b = load(x + half + j, lanes) * rstd;
        store(dx + j, (da * load(weight + j, lanes) - normed_a * mean) * rstd, lanes);
        store(dx + half + j, (db * load(weight + half + j, lanes) - normed_b * mean) * rstd, lanes);
        if (d_weight != nullptr) {
          store(d_weight + j, load(d_weight + j, lanes) + da * normed_a, lanes);
          store(d_weight + half + j, load(d_weight + half + j, lanes) + db * normed_b, lanes);
        }
      });
    }
  }
}

template <typename T>
void fill(ElementKernels& table) {
  table.rope = rope<T>;
  table.rope_backward = rope_backward<T>;
}

}  // namespace

void fill_rope(Kernels& table) {
  fill<float>(table.element[0]);
  fill<BF16>(table.element[1]);
  fill<F16>(table.element[2]);
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
