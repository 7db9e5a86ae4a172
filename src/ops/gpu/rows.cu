#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

/// Operations that move whole rows, without a look at what is in them: embedding, gather, scatter.
namespace primus::ops::gpu {
namespace {

using Position = const std::int32_t*;

/// out[i] = x[index[i]]
template <typename Word, int kWidth>
struct Gather {
  Rows<Word> x;
  Position index;
  Rows<Word> out;

  __device__ void operator()(Index row, Index column) const {
    store_pack(out.at(row, column), load_pack<kWidth>(x.at(index[row], column)));
  }
};

/// Row t of the result: the row of x whose index is t, or zero.
template <typename Word, int kWidth>
struct Scatter {
  Rows<Word> x;
  Position index;
  Index count;
  Index rows;
  Rows<Word> out;

  /// How many indices are below t. As they ascend, t − (rows − count) … t of them.
  __device__ Index indices_below(Index t) const {
    Index low = max(Index{0}, t - (rows - count)), high = min(t, count);
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (index[middle] < t) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  __device__ void operator()(Index row, Index column) const {
    const Index source = indices_below(row);
    Pack<Word, kWidth> pack{};
    if (source < count && index[source] == row) pack = load_pack<kWidth>(x.at(source, column));
    store_pack(out.at(row, column), pack);
  }
};

/// body(Word{}, Int<width>{}) for words as large as the elements.
template <typename Body>
void with_words(const Tensor& x, const Tensor& out, const Body& body) {
  const auto with_word = [&](auto word) {
    with_pack_width<decltype(word)>([&](auto width) { body(word, width); }, x, out);
  };
  if (size_of(x.dtype()) == 2) {
    with_word(std::uint16_t{});
  } else {
    with_word(std::uint32_t{});
  }
}

void gather(Stream& stream, const char* name, const Tensor& x, const Tensor& index, const Tensor& out) {
  with_words(x, out, [&](auto word, auto width) {
    using Word = decltype(word);
    for_each_pack<width>(
        stream, name, out.rows(), out.columns(),
        Gather<Word, width>{rows_of<Word>(x), elements_of<const std::int32_t>(index), rows_of<Word>(out)});
  });
}

}  // namespace

void embedding_forward(Stream& stream, const EmbeddingForward& args) {
  gather(stream, "embedding_forward", args.table, args.ids, args.out);
}

void gather_rows(Stream& stream, const GatherRows& args) {
  gather(stream, "gather_rows", args.x, args.index, args.out);
}

void scatter_rows(Stream& stream, const ScatterRows& args) {
  const auto& [x, index, out] = args;
  with_words(x, out, [&](auto word, auto width) {
    using Word = decltype(word);
    for_each_pack<width>(stream, "scatter_rows", out.rows(), out.columns(),
                         Scatter<Word, width>{rows_of<Word>(x), elements_of<const std::int32_t>(index), index.columns(),
                                              out.rows(), rows_of<Word>(out)});
  });
}

}  // namespace primus::ops::gpu
