#pragma once

#include <cstdint>

#include "data/batch_plan.h"
#include "train/memory_plan.h"

namespace primus::train {

struct Evaluation {
  double loss = 0.0;  // mean over the trained tokens, nats
  std::int64_t tokens = 0;
};

/// The mean loss of the plan's rows under the present weights. Overwrites the step state's sums.
Evaluation evaluate(Stream& stream, DeviceMemory& memory, const data::EvalPlan& plan);

/// The micro-batch on the device.
model::Batch upload(Stream& stream, const DeviceMemory& memory, const data::MicroBatch& batch);

}  // namespace primus::train
