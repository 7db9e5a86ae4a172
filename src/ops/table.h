#pragma once

#include "ops/adamw.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/loss.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/step_state.h"
#include "ops/swiglu.h"

namespace primus::ops {

/// The operations of one back end: an entry for each function of the headers above, of the same meaning. The functions
/// check shapes once for all devices (ops/*.cpp) and call through this table, so an implementation may trust its input.
struct Table {
  void (*linear_forward)(Stream&, const LinearForward&);
  void (*linear_backward_input)(Stream&, const LinearBackwardInput&);
  void (*linear_backward_weight)(Stream&, const LinearBackwardWeight&);
  void (*bias_backward)(Stream&, const BiasBackward&);
  void (*embedding_forward)(Stream&, const EmbeddingForward&);
  void (*embedding_backward)(Stream&, const EmbeddingBackward&);
  void (*rms_norm_forward)(Stream&, const RmsNormForward&);
  void (*rms_norm_backward)(Stream&, const RmsNormBackward&);
  void (*add)(Stream&, const Add&);
  void (*rope_forward)(Stream&, const RopeForward&);
  void (*rope_backward)(Stream&, const RopeBackward&);
  void (*attention_forward)(Stream&, const AttentionForward&);
  void (*attention_backward)(Stream&, const AttentionBackward&);
  Tensor (*attention_backward_sums)(Stream&, const AttentionBackward&);
  std::size_t (*attention_backward_workspace)(Device, DType, const AttentionShape&, std::int64_t tokens);
  void (*attention_decode)(Stream&, const AttentionDecode&);
  void (*swiglu_forward)(Stream&, const SwigluForward&);
  void (*swiglu_backward)(Stream&, const SwigluBackward&);
  // false: no kernel for this, nothing was done; else it has told the stream's observer
  bool (*linear_swiglu_forward)(Stream&, const LinearSwigluForward&);
  bool (*linear_swiglu_backward)(Stream&, const LinearSwigluBackward&);
  bool (*swiglu_lora_backward)(Stream&, const SwigluLoraBackward&);
  void (*gather_rows)(Stream&, const GatherRows&);
  void (*scatter_rows)(Stream&, const ScatterRows&);
  void (*cross_entropy_forward)(Stream&, const CrossEntropyForward&);
  void (*cross_entropy_forward_backward)(Stream&, const CrossEntropyForwardBackward&);
  void (*begin_step)(Stream&, const Tensor& state);
  void (*add_loss)(Stream&, const Tensor& loss, const Tensor& state);
  void (*add_squared_norm)(Stream&, const Tensor& grads, const Tensor& state);
  void (*decide_step)(Stream&, const DecideStep&);
  void (*adamw)(Stream&, const AdamW&);
  void (*convert)(Stream&, const Convert&);
  void (*dropout)(Stream&, const Dropout&);
};

}  // namespace primus::ops
