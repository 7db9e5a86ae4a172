#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

/// Attention cut into tasks for the threads. Every number is made by one task in a fixed order, so results do not
/// depend on the number of threads.
namespace primus::ops::cpu {
namespace {

Index width_of(const AttentionShape& shape) { return (Index{shape.head_dim} + 15) / 16 * 16; }

float* room_for_block(const AttentionShape& shape) {
  constexpr Index kBlock = kAttentionBlock;
  return scratch_floats(Scratch::kAttention, 2 * kBlock * kBlock + 7 * kBlock * width_of(shape) + 4 * kBlock);
}

/// Rows from token `first` on, at the columns of head `head`.
Rows head_of(const Tensor& tensor, Index first, Index head, Index dim) {
  if (tensor.empty()) return {};
  return {element_at(row_at(tensor, first), tensor.dtype(), head * dim), tensor.row_stride()};
}

/// Floating-point operations, as elements of element-wise work (about 64 of them take the time of one element).
Index work_of(double flops) { return static_cast<Index>(flops / 64.0); }

struct Block {
  Index document;
  Index first;  // query, in the document
};

struct Document {
  Index first;  // token
  Index length;
};

Document document_of(const Tensor& cu_seqlens, Index document) {
  const std::int32_t* starts = cu_seqlens.as<std::int32_t>();
  return {starts[document], Index{starts[document + 1]} - starts[document]};
}

}  // namespace

void attention_forward(Stream&, const AttentionForward& args) {
  const Index dim = args.shape.head_dim, heads = args.shape.heads, group = heads / args.shape.kv_heads;
  const ElementKernels& table = kernels_of(args.q.dtype());
  thread_local std::vector<Block> blocks;
  blocks.clear();
  double flops = 0.0;
  for (Index d = 0; d + 1 < args.cu_seqlens.columns(); ++d) {
    const Index length = document_of(args.cu_seqlens, d).length;
    for (Index first = 0; first < length; first += kAttentionBlock) blocks.push_back({d, first});
    flops += 2.0 * static_cast<double>(length * length * heads * dim);
  }
  // the longest first: they see the most keys
  std::stable_sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.first > b.first; });
  const Block* block_list = blocks.data();
  parallel_tasks(static_cast<Index>(blocks.size()) * heads, work_of(flops), [&](Index i) {
    const Block block = block_list[i / heads];
    const Index head = i % heads;
    const auto [first, length] = document_of(args.cu_seqlens, block.document);
    const AttentionTask task = {.q = head_of(args.q, first, head, dim),
                                .k = head_of(args.k, first, head / group, dim),
                                .v = head_of(args.v, first, head / group, dim),
                                .out = head_of(args.out, first, head, dim),
                                .lse = args.lse ? args.lse.as<float>() + head * args.lse.row_stride() + first : nullptr,
                                .length = length,
                                .head_dim = dim,
                                .width = width_of(args.shape),
                                .scale = args.shape.scale};
    table.attention_forward(task, block.first, room_for_block(args.shape));
  });
}

/// For each head and token what it adds to dK and to dV, in f32.
std::size_t attention_backward_workspace(Device, DType, const AttentionShape& shape, std::int64_t tokens) {
  return static_cast<std::size_t>(2 * tokens * shape.heads * width_of(shape)) * sizeof(float);
}

void attention_backward(Stream&, const AttentionBackward& args) {
  const Index dim = args.shape.head_dim, heads = args.shape.heads, kv_heads = args.shape.kv_heads;
  const Index group = heads / kv_heads, width = width_of(args.shape), tokens = args.q.rows();
  const ElementKernels& table = kernels_of(args.q.dtype());
  float* d_keys = static_cast<float*>(args.workspace.data());  // (heads, tokens, width)
  float* d_values = d_keys + heads * tokens * width;
  thread_local std::vector<Document> documents;
  documents.clear();
  double flops = 0.0;
  for (Index d = 0; d + 1 < args.cu_seqlens.columns(); ++d) {
    documents.push_back(document_of(args.cu_seqlens, d));
    flops += 5.0 * static_cast<double>(documents.back().length * documents.back().length * heads * dim);
  }
  std::stable_sort(documents.begin(), documents.end(),
                   [](const Document& a, const Document& b) { return a.length > b.length; });
  const Document* document_list = documents.data();
  parallel_tasks(static_cast<Index>(documents.size()) * heads, work_of(flops), [&](Index i) {
    const auto [first, length] = document_list[i / heads];
    const Index head = i % heads;
    const AttentionTask task = {.q = head_of(args.q, first, head, dim),
                                .k = head_of(args.k, first, head / group, dim),
                                .v = head_of(args.v, first, head / group, dim),
                                .out = head_of(args.out, first, head, dim),
                                .d_out = head_of(args.d_out, first, head, dim),
                                .d_q = head_of(args.d_q, first, head, dim),
                                .lse = args.lse.as<float>() + head * args.lse.row_stride() + first,
                                .length = length,
                                .head_dim = dim,
                                .width = width,
                                .scale = args.shape.scale};
    const Index offset = (head * tokens + first) * width;
    table.attention_backward(task, d_keys + offset, d_values + offset, room_for_block(args.shape));
  });
  parallel_ranges(tokens, 4 * heads * width, [&](Index begin, Index end) {
    for (Index head = 0; head < kv_heads; ++head) {
      const Index offset = head * group * tokens * width;
      table.attention_sum_parts(d_keys + offset, tokens * width, group, width, dim, head_of(args.d_k, 0, head, dim),
                                begin, end);
      table.attention_sum_parts(d_values + offset, tokens * width, group, width, dim, head_of(args.d_v, 0, head, dim),
                                begin, end);
    }
  });
}

Tensor attention_backward_sums(Stream& stream, const AttentionBackward& args) {
  cpu::attention_backward(stream, args);
  return {};
}

void attention_decode(Stream&, const AttentionDecode& args) {
  const Index dim = args.shape.head_dim, heads = args.shape.heads, group = heads / args.shape.kv_heads;
  const ElementKernels& table = kernels_of(args.q.dtype());
  const std::int32_t* slots = args.slots.as<std::int32_t>();
  const std::int32_t* positions = args.positions.as<std::int32_t>();
  const std::size_t row_bytes = static_cast<std::size_t>(args.k.columns()) * size_of(args.k.dtype());
  Index work = 0;
  for (Index b = 0; b < args.q.rows(); ++b) {
    const Index row = slots[b] * args.capacity + positions[b];
    std::memcpy(row_at(args.k_cache, row), row_at(args.k, b), row_bytes);
    std::memcpy(row_at(args.v_cache, row), row_at(args.v, b), row_bytes);
    work += 2 * Index{positions[b]} * heads * dim;
  }
  parallel_tasks(args.q.rows() * heads, work, [&](Index i) {
    const Index b = i / heads, head = i % heads, length = Index{positions[b]} + 1;
    const AttentionTask task = {.q = head_of(args.q, b, head, dim),
                                .k = head_of(args.k_cache, slots[b] * args.capacity, head / group, dim),
                                .v = head_of(args.v_cache, slots[b] * args.capacity, head / group, dim),
                                .out = head_of(args.out, b, head, dim),
                                .length = length,
                                .head_dim = dim,
                                .width = width_of(args.shape),
                                .scale = args.shape.scale};
    table.attention_decode(task, scratch_floats(Scratch::kAttention, length + 16));
  });
}

}  // namespace primus::ops::cpu
