#include "model/batch.h"

#include <algorithm>
#include <vector>

namespace primus::model {
namespace {

Tensor fill_first(Stream& stream, const Tensor& buffer, std::span<const std::int32_t> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  PRIMUS_CHECK(count <= buffer.columns(), count, buffer.columns());
  const Tensor target = buffer.slice(0, count);
  if (count > 0) stream.copy_to_device(target, values.data());
  return target;
}

/// Documents of different lengths: so many more, all empty, that the number of documents is a multiple of this. Micro-
/// batches then come in few forms, whose work can be recorded (tensor/replay.h).
constexpr std::size_t kDocumentMultiple = 8;

std::vector<std::int32_t> with_empty_documents(std::span<const std::int32_t> cu_seqlens, std::size_t most) {
  std::vector<std::int32_t> starts(cu_seqlens.begin(), cu_seqlens.end());
  const std::size_t documents = (starts.size() - 1 + kDocumentMultiple - 1) / kDocumentMultiple * kDocumentMultiple;
  starts.resize(std::max(starts.size(), std::min(documents + 1, most)), starts.back());
  return starts;
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
  const auto documents = static_cast<std::int64_t>(host.cu_seqlens.size()) - 1;
  const bool are_equal = documents * host.max_seqlen == static_cast<std::int64_t>(host.ids.size());
  const std::vector<std::int32_t> filled_up =
      are_equal ? std::vector<std::int32_t>()
                : with_empty_documents(host.cu_seqlens, static_cast<std::size_t>(cu_seqlens_.columns()));
  return {.ids = fill_first(stream, ids_, host.ids),
          .positions = fill_first(stream, positions_, host.positions),
          .cu_seqlens = fill_first(stream, cu_seqlens_, are_equal ? host.cu_seqlens : std::span(filled_up)),
          .trained_rows = fill_first(stream, trained_rows_, host.trained_rows),
          .targets = fill_first(stream, targets_, host.targets),
          .max_seqlen = host.max_seqlen};
}

}  // namespace primus::model
