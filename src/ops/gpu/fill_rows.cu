#include "ops/gpu/fill_rows.h"
#include "ops/gpu/kernel_support.cuh"

namespace primus::ops::gpu {
namespace {

template <typename In, typename Out, int kWidth>
struct FillPack {
  const In* from;
  Rows<Out> to;

  __device__ void operator()(Index row, Index column) const { store(to.at(row, column), load<kWidth>(from + column)); }
};

}  // namespace

void fill_rows(Stream& stream, const Tensor& row, const Tensor& out) {
  with_element_type(row.dtype(), [&](auto in) {
    using In = decltype(in);
    const auto fill = [&](auto result) {
      using Out = decltype(result);
      with_pack_width<In>(
          [&](auto width) {
            constexpr int kWidth = decltype(width)::value;
            for_each_pack<kWidth>(stream, "fill_rows", out.rows(), out.columns(),
                                  FillPack<In, Out, kWidth>{elements_of<In>(row), rows_of<Out>(out)});
          },
          row, out);
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
