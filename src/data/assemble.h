#pragma once

#include <cstdint>
#include <span>

#include "data/batch.h"
#include "data/token_set.h"

namespace primus::data {

/// Lays the rows one after the other, each a document with positions from 0, and fills up the last. Position t of a
/// document is in trained_rows when the label at t + 1 of the same document is trained; targets then holds that label.
/// `out` is overwritten and its memory used again. `rows` must not be empty.
void assemble(const TokenSet& set, std::span<const std::uint32_t> rows, MicroBatch& out);

inline MicroBatch assemble(const TokenSet& set, std::span<const std::uint32_t> rows) {
  MicroBatch batch;
  assemble(set, rows, batch);
  return batch;
}

/// Makes the last document of a batch without filler longer, up to with_filler(tokens), and counts it.
void append_filler(MicroBatch& batch);

}  // namespace primus::data
