#include "ops/gpu/table.h"

namespace primus::ops::gpu {

constexpr Table kTable = {
    .linear_forward = linear_forward,
    .linear_backward_input = linear_backward_input,
    .linear_backward_weight = linear_backward_weight,
    .bias_backward = bias_backward,
    .embedding_forward = embedding_forward,
    .embedding_backward = embedding_backward,
    .rms_norm_forward = rms_norm_forward,
    .rms_norm_backward = rms_norm_backward,
    .add = add,
    .rope_forward = rope_forward,
    .rope_backward = rope_backward,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_backward_sums = attention_backward_sums,
    .attention_backward_workspace = attention_backward_workspace,
    .attention_decode = attention_decode,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .linear_swiglu_forward = linear_swiglu_forward,
    .linear_swiglu_backward = linear_swiglu_backward,
    .swiglu_lora_backward = swiglu_lora_backward,
    .gather_rows = gather_rows,
    .scatter_rows = scatter_rows,
    .cross_entropy_forward = cross_entropy_forward,
    .cross_entropy_forward_backward = cross_entropy_forward_backward,
    .begin_step = begin_step,
    .add_loss = add_loss,
    .add_squared_norm = add_squared_norm,
    .decide_step = decide_step,
    .adamw = adamw,
    .convert = convert,
    .dropout = dropout,
};

}  // namespace primus::ops::gpu
