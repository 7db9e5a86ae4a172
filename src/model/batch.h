#pragma once

#include <cstdint>
#include <span>

#include "model/layer.h"
#include "tensor/arena.h"

namespace primus::model {

/// Device memory for one micro-batch of up to `max_tokens` tokens.
class BatchBuffers {
 public:
  BatchBuffers(Arena& arena, std::int64_t max_tokens);

  struct Host {
    std::span<const std::int32_t> ids;
    std::span<const std::int32_t> positions;
    std::span<const std::int32_t> cu_seqlens;
    std::span<const std::int32_t> trained_rows;
    std::span<const std::int32_t> targets;
    std::int64_t max_seqlen = 0;
  };
  /// Copies to the device; the views are good until the next upload.
  Batch upload(Stream& stream, const Host& host) const;

 private:
  Tensor ids_;
  Tensor positions_;
  Tensor cu_seqlens_;
  Tensor trained_rows_;
  Tensor targets_;
};

}  // namespace primus::model
