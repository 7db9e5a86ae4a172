#pragma once

#include <cstdint>
#include <span>

#include "data/batch.h"
#include "data/token_set.h"

namespace primus::data {

/// Lays the rows one after the other, each a document with positions from 0, and fills up with one document of token
/// 0 to a multiple of kTokenMultiple. Position t of a document is in trained_rows when the label at t + 1 of the same
/// document is trained; targets then holds that label. max_seqlen counts the filler too. `out` is overwritten and its
/// memory used again. `rows` must not be empty.
void assemble(const TokenSet& set, std::span<const std::uint32_t> rows, MicroBatch& out);

inline MicroBatch assemble(const TokenSet& set, std::span<const std::uint32_t> rows) {
  MicroBatch batch;
  assemble(set, rows, batch);
  return batch;
}

}  // namespace primus::data
