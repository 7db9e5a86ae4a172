#include "model/batch.h"

namespace primus::model {
namespace {

Tensor fill_first(Stream& stream, const Tensor& buffer, std::span<const std::int32_t> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  PRIMUS_CHECK(count <= buffer.columns(), count, buffer.columns());
  const Tensor target = buffer.slice(0, count);
  if (count > 0) stream.copy_to_device(target, values.data());
  return target;
}

}  // namespace

BatchBuffers::BatchBuffers(Arena& arena, std::int64_t max_tokens)
    : ids_(arena.vector(MemoryKind::kActivations, "token ids", DType::kI32, max_tokens)),
      positions_(arena.vector(MemoryKind::kActivations, "positions", DType::kI32, max_tokens)),
      cu_seqlens_(arena.vector(MemoryKind::kActivations, "cu_seqlens", DType::kI32, max_tokens + 1)),
      trained_rows_(arena.vector(MemoryKind::kActivations, "trained rows", DType::kI32, max_tokens)),
      targets_(arena.vector(MemoryKind::kActivations, "targets", DType::kI32, max_tokens)) {}

Batch BatchBuffers::upload(Stream& stream, const Host& host) const {
  PRIMUS_CHECK(host.ids.size() == host.positions.size(), host.ids.size(), host.positions.size());
  PRIMUS_CHECK(host.trained_rows.size() == host.targets.size(), host.trained_rows.size(), host.targets.size());
  PRIMUS_CHECK(!host.cu_seqlens.empty() && host.cu_seqlens.back() == static_cast<std::int32_t>(host.ids.size()),
               host.cu_seqlens.size(), host.ids.size());
  return {.ids = fill_first(stream, ids_, host.ids),
          .positions = fill_first(stream, positions_, host.positions),
          .cu_seqlens = fill_first(stream, cu_seqlens_, host.cu_seqlens),
          .trained_rows = fill_first(stream, trained_rows_, host.trained_rows),
          .targets = fill_first(stream, targets_, host.targets),
          .max_seqlen = host.max_seqlen};
}

}  // namespace primus::model
