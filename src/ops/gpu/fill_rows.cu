#include "ops/gpu/fill_rows.h"
#include "ops/gpu/kernel_support.cuh"

namespace primus::ops::gpu {
namespace {

template <typename In, typename Out, int kWidth>
struct FillPack {
  const In* from;
  Rows<const Out> addend;  // or not there
  Rows<Out> to;

  __device__ void operator()(Index row, Index column) const {
    auto sum = load<kWidth>(from + column);
    if (addend) {
      const auto added = load<kWidth>(addend.at(row, column));
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[e] += added[e];
    }
    store(to.at(row, column), sum);
  }
};

}  // namespace

void fill_rows(Stream& stream, const Tensor& row, const Tensor& addend, const Tensor& out) {
  with_element_type(row.dtype(), [&](auto in) {
    using In = decltype(in);
    const auto fill = [&](auto result) {
      using Out = decltype(result);
      with_pack_width<In>(
          [&](auto width) {
            constexpr int kWidth = decltype(width)::value;
            for_each_pack<kWidth>(
                stream, "fill_rows", out.rows(), out.columns(),
                FillPack<In, Out, kWidth>{elements_of<In>(row), rows_of<const Out>(addend), rows_of<Out>(out)});
          },
          row, addend, out);
    };
    if (out.dtype() == row.dtype()) {
      fill(in);
    } else {
      PRIMUS_CHECK(out.dtype() == DType::kF32, name_of(out.dtype()), name_of(row.dtype()));
      fill(float{});
    }
  });
}

}  // namespace primus::ops::gpu
