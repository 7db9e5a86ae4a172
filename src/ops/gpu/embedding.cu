#include <climits>

#include "ops/gpu/kernel_support.cuh"
#include "ops/gpu/table.h"

/// The gradient of the embedding: every row of the table that occurs is added to by one block, token after token. Which
/// tokens have the same id is found by comparing all of them, T²/2 comparisons of integers in shared memory: a few
/// microseconds for 8192 tokens, with no sorting and nothing as large as the vocabulary.
namespace primus::ops::gpu {
namespace {

/// Tokens of the same id as a list.
struct Links {
  int* next;          // (T) the next token with the id of this one; no token: T or more
  int* has_previous;  // (T) 0: the first of its id
};

/// Compares tile blockIdx.x of the tokens with tile blockIdx.y, which is the same or a later one.
__global__ void __launch_bounds__(kBlockThreads) link_kernel(const std::int32_t* ids, int tokens, Links links) {
  __shared__ std::int32_t later[kBlockThreads];
  if (blockIdx.y < blockIdx.x) return;
  const int first = static_cast<int>(blockIdx.y) * kBlockThreads;
  const int count = min(kBlockThreads, tokens - first);
  if (threadIdx.x < count) later[threadIdx.x] = ids[first + threadIdx.x];
  __syncthreads();
  const int token = static_cast<int>(blockIdx.x * kBlockThreads + threadIdx.x);
  if (token >= tokens) return;
  const std::int32_t id = ids[token];
  for (int i = max(0, token + 1 - first); i < count; ++i) {
    if (later[i] != id) continue;
    atomicMin(links.next + token, first + i);
    links.has_previous[first + i] = 1;
    return;
  }
}

/// d_table[ids[t]] += d_out[t], then the same for the tokens linked to t; `kAhead` rows are read at a time.
template <typename D, typename T, int kWidth>
__global__ void __launch_bounds__(kBlockThreads)
    add_linked_kernel(const std::int32_t* ids, int tokens, Links links, Rows<const D> d_out, Rows<T> d_table,
                      Index columns) {
  constexpr int kAhead = 8;
  int token = static_cast<int>(blockIdx.x);
  const Index column = (static_cast<Index>(blockIdx.y) * blockDim.x + threadIdx.x) * kWidth;
  if (links.has_previous[token] != 0 || column >= columns) return;
  T* target = d_table.at(ids[token], column);
  auto sum = load<kWidth>(target);
  while (token < tokens) {
    Pack<D, kWidth> rows[kAhead];
    int count = 0;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (token >= tokens) continue;
      rows[i] = load_pack<kWidth>(d_out.at(token, column));
      token = links.next[token];
      ++count;
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (i >= count) continue;
      const auto row = unpacked(rows[i]);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[e] = rounded_to<T>(sum[e] + row[e]);
    }
  }
  store(target, sum);
}

Links link(Stream& stream, const Tensor& ids) {
  const Index tokens = ids.columns();
  const Workspace workspace = workspace_of(stream);
  const std::size_t bytes = static_cast<std::size_t>(tokens) * sizeof(int);
  PRIMUS_CHECK(2 * bytes <= workspace.bytes && tokens < INT_MAX, tokens, workspace.bytes);
  auto* data = static_cast<int*>(workspace.data);
  const Links links = {.next = data, .has_previous = data + tokens};
  GPU_CHECK(gpuMemsetAsync(links.next, 0x7F, bytes, stream_of(stream)));  // larger than any token
  GPU_CHECK(gpuMemsetAsync(links.has_previous, 0, bytes, stream_of(stream)));
  const auto tiles = static_cast<unsigned>(divide_up(tokens, kBlockThreads));
  link_kernel<<<dim3(tiles, tiles), kBlockThreads, 0, stream_of(stream)>>>(elements_of<const std::int32_t>(ids),
                                                                           static_cast<int>(tokens), links);
  GPU_LAUNCH_CHECK(stream, "embedding_backward, links");
  return links;
}

}  // namespace

void embedding_backward(Stream& stream, const EmbeddingBackward& args) {
  const auto& [ids, d_out, d_table] = args;
  const Links links = link(stream, ids);
  const auto add = [&](auto from, auto to, auto width) {
    using D = decltype(from);
    using T = decltype(to);
    const Index packs = divide_up(d_out.columns(), Index{width});
    const auto threads = static_cast<unsigned>(std::min<Index>(packs, kBlockThreads));
    const dim3 grid(static_cast<unsigned>(ids.columns()), static_cast<unsigned>(divide_up(packs, threads)));
    add_linked_kernel<D, T, width>
        <<<grid, threads, 0, stream_of(stream)>>>(elements_of<const std::int32_t>(ids), static_cast<int>(ids.columns()),
                                                  links, rows_of<const D>(d_out), rows_of<T>(d_table), d_out.columns());
    GPU_LAUNCH_CHECK(stream, "embedding_backward");
  };
  with_element_type(d_out.dtype(), [&](auto from) {
    with_state_type(d_table.dtype(), [&](auto to) {
      constexpr int kWidth = std::min(kPackWidth<decltype(from)>, kPackWidth<decltype(to)>);
      if (packs_fit(kWidth, d_out, d_table)) {
        add(from, to, Int<kWidth>{});
      } else {
        add(from, to, Int<1>{});
      }
    });
  });
}

}  // namespace primus::ops::gpu
