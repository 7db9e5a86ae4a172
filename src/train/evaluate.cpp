#include "train/evaluate.h"

#include "ops/step_state.h"

namespace primus::train {

model::Batch upload(Stream& stream, const DeviceMemory& memory, const data::MicroBatch& batch) {
  return memory.batch.upload(stream, {.ids = batch.ids,
                                      .positions = batch.positions,
                                      .cu_seqlens = batch.cu_seqlens,
                                      .trained_rows = batch.trained_rows,
                                      .targets = batch.targets,
                                      .max_seqlen = batch.max_seqlen});
}

Evaluation evaluate(Stream& stream, DeviceMemory& memory, const data::EvalPlan& plan) {
  ops::begin_step(stream, memory.state);
  const model::Pass pass{.stream = stream};
  data::MicroBatch host;
  for (std::int64_t i = 0; i < plan.micro_batches(); ++i) {
    plan.assemble(i, host);
    memory.decoder.evaluate(pass, upload(stream, memory, host), memory.state);
  }
  ops::StepState state{};
  stream.copy_to_host(&state, memory.state);
  return {.loss = state.loss_sum / static_cast<double>(plan.trained_tokens()), .tokens = plan.trained_tokens()};
}

}  // namespace primus::train
