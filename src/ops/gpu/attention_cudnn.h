#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/attention.h"

/// Attention through cuDNN's graph API, for 16-bit types where all documents have one length: a dense graph with
/// as many sequences as documents. A plan is made the first time a shape is seen and kept. cuDNN is loaded when it is
/// asked for first.
namespace primus::ops::gpu {

/// Documents of one length, laid end to end.
struct EqualDocuments {
  std::int64_t count = 0;
  std::int64_t length = 0;
};

/// False, with nothing done, if cuDNN cannot be loaded (said once in the log) or has no plan for this.
bool cudnn_attention_forward(Stream& stream, const AttentionForward& args, EqualDocuments documents);
/// False too if its plan wants more workspace than there is.
bool cudnn_attention_backward(Stream& stream, const AttentionBackward& args, EqualDocuments documents);
/// Bytes of workspace that are enough for cuDNN's backward (read off its plans, not documented): for each row and head
/// two vectors of head_dim and some numbers in f32.
std::size_t cudnn_attention_backward_workspace(const AttentionShape& shape, std::int64_t tokens);

}  // namespace primus::ops::gpu
