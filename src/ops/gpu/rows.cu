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

/// source[index[i]] = i
__global__ void note_sources_kernel(Position index, Index count, std::int32_t* source) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) source[index[i]] = static_cast<std::int32_t>(i);
}

/// out[t] = x[source[t]], or zero where the source is negative.
template <typename Word, int kWidth>
struct Scatter {
  Rows<Word> x;
  Position source;
  Rows<Word> out;

  __device__ void operator()(Index row, Index column) const {
    const std::int32_t from = source[row];
    Pack<Word, kWidth> pack{};
    if (from >= 0) pack = load_pack<kWidth>(x.at(from, column));
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
  const Workspace workspace = workspace_of(stream);
  const std::size_t bytes = static_cast<std::size_t>(out.rows()) * sizeof(std::int32_t);
  PRIMUS_CHECK(bytes <= workspace.bytes, out.rows(), workspace.bytes);
  auto* source = static_cast<std::int32_t*>(workspace.data);
  const gpuStream_t on = stream_of(stream);
  GPU_CHECK(gpuMemsetAsync(source, 0xFF, bytes, on));
  const Index count = index.columns();
  const auto blocks = static_cast<unsigned>(divide_up(std::max<Index>(count, 1), kBlockThreads));
  note_sources_kernel<<<blocks, kBlockThreads, 0, on>>>(elements_of<const std::int32_t>(index), count, source);
  GPU_LAUNCH_CHECK(stream, "scatter_rows, sources");
  with_words(x, out, [&](auto word, auto width) {
    using Word = decltype(word);
    for_each_pack<width>(stream, "scatter_rows", out.rows(), out.columns(),
                         Scatter<Word, width>{rows_of<Word>(x), source, rows_of<Word>(out)});
  });
}

}  // namespace primus::ops::gpu
