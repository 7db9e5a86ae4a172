#pragma once

#include <cstdint>
#include <vector>

namespace primus::data {

/// What one forward and backward pass works on: documents one after the other without padding between them. The last
/// document is filled up with token 0 to a multiple of kTokenMultiple, so that few shapes recur: causal attention never
/// looks from a document's tokens to the filler behind them, and the filler trains nothing.
struct MicroBatch {
  std::vector<std::int32_t> ids;           // (tokens)
  std::vector<std::int32_t> positions;     // (tokens), from 0 in each document
  std::vector<std::int32_t> cu_seqlens;    // (documents + 1), the last document with its filler
  std::vector<std::int32_t> trained_rows;  // positions t, ascending, whose next token is trained
  std::vector<std::int32_t> targets;       // the next token of each trained row
  std::int64_t real_tokens = 0;            // without the filler
  std::int64_t max_seqlen = 0;             // the longest document, filler included
};

constexpr std::int64_t kTokenMultiple = 64;
constexpr std::int64_t kMostFiller = kTokenMultiple - 1;

constexpr std::int64_t with_filler(std::int64_t tokens) {
  return (tokens + kMostFiller) / kTokenMultiple * kTokenMultiple;
}

}  // namespace primus::data
