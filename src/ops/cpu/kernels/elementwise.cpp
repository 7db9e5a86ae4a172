#include "ops/cpu/kernels/level.h"
#include "ops/cpu/kernels/philox.h"
#include "ops/cpu/kernels/simd.h"

namespace primus::ops::cpu::PRIMUS_CPU_LEVEL {
namespace {

template <typename In, typename Out>
void convert(const void* in, void* out, float scale, Index count) {
  const In* from = static_cast<const In*>(in);
  Out* to = static_cast<Out*>(out);
  for_lanes(count, [&](Index i, auto lanes) { store(to + i, load(from + i, lanes) * scale, lanes); });
}

template <typename T>
void load_elements(const void* in, float* out, Index count) {
  const T* from = static_cast<const T*>(in);
  for_lanes(count, [&](Index i, auto lanes) { store(out + i, load(from + i, lanes), lanes); });
}

template <typename T>
void store_elements(const float* in, void* out, Index count) {
  T* to = static_cast<T*>(out);
  for_lanes(count, [&](Index i, auto lanes) { store(to + i, load(in + i, lanes), lanes); });
}

template <typename T>
void add(const void* x, const void* delta, void* sum, Index count) {
  const T *a = static_cast<const T*>(x), *b = static_cast<const T*>(delta);
  T* to = static_cast<T*>(sum);
  for_lanes(count, [&](Index i, auto lanes) { store(to + i, load(a + i, lanes) + load(b + i, lanes), lanes); });
}

template <typename T>
void dropout(const void* x, void* out, Index count, const RandomStream& random, std::uint64_t first,
             std::uint32_t threshold, float scale) {
  const T* from = static_cast<const T*>(x);
  T* to = static_cast<T*>(out);
  PhiloxWords words;
  Index done = 0;
  while (done < count) {
    const std::uint64_t element = first + static_cast<std::uint64_t>(done);
    const Index skipped = static_cast<Index>(element % 4);
    philox(random, element / 4, words);
    const Index room = 4 * kPhiloxBlocks - skipped;
    const Index size = room < count - done ? room : count - done;
    for (int b = 0; b < kPhiloxBlocks; ++b) {
      for (int w = 0; w < 4; ++w) words.factor[4 * b + w] = (words.word[w][b] >> 8) >= threshold ? scale : 0.0F;
    }
    for_lanes(size, [&](Index i, auto lanes) {
      // a choice, not a product with zero: what is dropped may be infinite
      const Vec factor = load(words.factor + skipped + i, lanes);
      store(to + done + i, factor > 0.0F ? load(from + done + i, lanes) * factor : Vec{}, lanes);
    });
    done += size;
  }
}

template <typename T>
void swiglu(const Rows& gate_up, const Rows& out, Index columns, Index begin, Index end) {
  for (Index t = begin; t < end; ++t) {
    const T* gate = static_cast<const T*>(gate_up.data) + t * gate_up.stride;
    const T* up = gate + columns;
    T* to = static_cast<T*>(out.data) + t * out.stride;
    for_lanes(columns, [&](Index j, auto lanes) {
      const Vec g = load(gate + j, lanes);
      store(to + j, g / (exp(-g) + 1.0F) * load(up + j, lanes), lanes);
    });
  }
}

template <typename T>
void swiglu_backward(const Rows& d_out, const Rows& gate_up, const Rows& d_gate_up, const Rows& out, Index columns,
                     Index begin, Index end) {
  for (Index t = begin; t < end; ++t) {
    const T* dy = static_cast<const T*>(d_out.data) + t * d_out.stride;
    const T* gate = static_cast<const T*>(gate_up.data) + t * gate_up.stride;
    const T* up = gate + columns;
    T* d_gate = static_cast<T*>(d_gate_up.data) + t * d_gate_up.stride;
    T* d_up = d_gate + columns;
    T* to = out.data == nullptr ? nullptr : static_cast<T*>(out.data) + t * out.stride;
    for_lanes(columns, [&](Index j, auto lanes) {
      const Vec g = load(gate + j, lanes), d = load(dy + j, lanes), u = load(up + j, lanes);
      const Vec sigmoid = 1.0F / (exp(-g) + 1.0F);
      const Vec silu = g * sigmoid;
      store(d_gate + j, d * u * (sigmoid + silu * (1.0F - sigmoid)), lanes);
      store(d_up + j, d * silu, lanes);
      if (to != nullptr) store(to + j, silu * u, lanes);
    });
  }
}

void exponential(const float* in, float* out, Index count) {
  for_lanes(count, [&](Index i, auto lanes) { store(out + i, exp(load(in + i, lanes)), lanes); });
}

template <typename T>
void fill(ElementKernels& table) {
  table.load = load_elements<T>;
  table.store = store_elements<T>;
  table.add = add<T>;
  table.convert[0] = convert<T, float>;
  table.convert[1] = convert<T, BF16>;
  table.convert[2] = convert<T, F16>;
  table.dropout = dropout<T>;
  table.swiglu = swiglu<T>;
  table.swiglu_backward = swiglu_backward<T>;
}

}  // namespace

void fill_elementwise(Kernels& table) {
  fill<float>(table.element[0]);
  fill<BF16>(table.element[1]);
  fill<F16>(table.element[2]);
  table.exponential = exponential;
}

}  // namespace primus::ops::cpu::PRIMUS_CPU_LEVEL
