#pragma once

#include <cstdint>

#include "config/run_config.h"
#include "model/decoder.h"
#include "tensor/stream.h"

namespace primus::train {

/// The state before the first step: no updates, and the loss scale that the precision starts with.
void initialize_state(Stream& stream, const config::RunConfig& config, const Tensor& state);

/// Ends a step whose gradients are complete: norm, clipping, the decision to skip, AdamW over the flat buffers,
/// adapters published. Everything is decided on the device.
void update(Stream& stream, const config::RunConfig& config, double learning_rate, model::Decoder& decoder,
            const Tensor& state);

}  // namespace primus::train
