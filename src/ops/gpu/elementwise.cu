#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/philox.cuh"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {
namespace {

template <typename In, typename Out, int kWidth>
struct ConvertPack {
  Rows<In> in;
  Rows<Out> out;
  float scale;

  __device__ void operator()(Index row, Index column) const {
    auto values = load<kWidth>(in.at(row, column));
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] *= scale;
    store(out.at(row, column), values);
  }
};

template <typename T, int kWidth>
struct AddPack {
  Rows<T> x;
  Rows<T> delta;
  Rows<T> sum;

  __device__ void operator()(Index row, Index column) const {
    auto values = load<kWidth>(x.at(row, column));
    const auto added = load<kWidth>(delta.at(row, column));
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] += added[i];
    store(sum.at(row, column), values);
  }
};

template <typename T, int kWidth>
struct DropoutPack {
  Rows<T> x;
  Rows<T> out;
  Index columns;
  float probability;
  float scale;
  std::uint64_t seed;
  std::uint64_t stream_id;

  __device__ void operator()(Index row, Index column) const {
    auto values = load<kWidth>(x.at(row, column));
    const auto first = static_cast<std::uint64_t>(row * columns + column);
    PhiloxWords random = philox(seed, stream_id, first / 4);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      // a pack starts at a block of four random words, a single element may lie anywhere in one
      const int word = kWidth == 1 ? static_cast<int>(first % 4) : i % 4;
      if (i == 4) random = philox(seed, stream_id, first / 4 + 1);
      const float uniform = static_cast<float>(random.word[word] >> 8) * 0x1p-24F;
      values[i] = uniform >= probability ? values[i] * scale : 0.0F;
    }
    store(out.at(row, column), values);
  }
};

template <typename In, typename Out>
void convert_elements(Stream& stream, const Tensor& in, const Tensor& out, float scale) {
  const auto launch = [&](auto width) {
    for_each_pack<width>(stream, "convert", in.rows(), in.columns(),
                         ConvertPack<In, Out, width>{rows_of<In>(in), rows_of<Out>(out), scale});
  };
  // the wider type's width: half a pack of the other is still whole sectors for a warp
  constexpr int kWidth = std::min(kPackWidth<In>, kPackWidth<Out>);
  if (packs_fit(kWidth, in, out)) {
    launch(Int<kWidth>{});
  } else {
    launch(Int<1>{});
  }
}

}  // namespace

void convert(Stream& stream, const Convert& args) {
  Tensor in = args.in, out = args.out;
  if (in.is_contiguous() && out.is_contiguous()) {  // one row, whatever its rows' length
    in = in.as_matrix(1, in.numel());
    out = out.as_matrix(1, out.numel());
  }
  with_element_type(in.dtype(), [&](auto from) {
    with_element_type(out.dtype(),
                      [&](auto to) { convert_elements<decltype(from), decltype(to)>(stream, in, out, args.scale); });
  });
}

void add(Stream& stream, const Add& args) {
  const auto& [x, delta, sum] = args;
  with_element_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>(
        [&](auto width) {
          for_each_pack<width>(stream, "add", x.rows(), x.columns(),
                               AddPack<T, width>{rows_of<T>(x), rows_of<T>(delta), rows_of<T>(sum)});
        },
        x, delta, sum);
  });
}

void dropout(Stream& stream, const Dropout& args) {
  const auto& [x, out, probability, seed, stream_id] = args;
  with_element_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    with_pack_width<T>(
        [&](auto width) {
          for_each_pack<width>(stream, "dropout", x.rows(), x.columns(),
                               DropoutPack<T, width>{rows_of<T>(x), rows_of<T>(out), x.columns(), probability,
                                                     1.0F / (1.0F - probability), seed, stream_id});
        },
        x, out);
  });
}

}  // namespace primus::ops::gpu
