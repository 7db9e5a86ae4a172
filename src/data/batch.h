#pragma once

#include <cstdint>
#include <vector>

namespace primus::data {

/// What one forward and backward pass works on: documents one after the other without padding between them. The end is
/// filled to a multiple of kTokenMultiple with one document of token 0 that trains nothing, so that few shapes recur.
struct MicroBatch {
  std::vector<std::int32_t> ids;           // (tokens)
  std::vector<std::int32_t> positions;     // (tokens), from 0 in each document
  std::vector<std::int32_t> cu_seqlens;    // (documents + 1), filler included
  std::vector<std::int32_t> trained_rows;  // positions t, ascending, whose next token is trained
  std::vector<std::int32_t> targets;       // the next token of each trained row
  std::int64_t real_tokens = 0;            // without the filler
  std::int64_t max_seqlen = 0;             // the longest document
};

constexpr std::int64_t kTokenMultiple = 64;

}  // namespace primus::data
