#pragma once

#include "tensor/stream.h"
#include "tensor/tensor.h"

namespace primus::ops {

/// out[t] = table[ids[t]]. The ids are below the table's rows (checked where they come from: the data).
struct EmbeddingForward {
  Tensor ids;    // (T) i32
  Tensor table;  // (vocab, H)
  Tensor out;    // (T, H), the table's type
};
void embedding_forward(Stream& stream, const EmbeddingForward& args);

/// d_table[ids[t]] += d_out[t], in order of t (so that two runs are equal bit for bit).
struct EmbeddingBackward {
  Tensor ids;      // (T) i32
  Tensor d_out;    // (T, H)
  Tensor d_table;  // (vocab, H), f32 or bf16
};
void embedding_backward(Stream& stream, const EmbeddingBackward& args);

}  // namespace primus::ops
