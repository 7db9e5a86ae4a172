#include "ops/cpu/implementation.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/support.h"

namespace primus::ops::cpu {

void cross_entropy_forward(Stream&, const CrossEntropyForward& args) {
  const ElementKernels& table = kernels_of(args.logits.dtype());
  const CrossEntropyArgs rows = {.logits = rows_of(args.logits),
                                 .targets = args.targets.as<std::int32_t>(),
                                 .loss = args.loss.as<float>(),
                                 .columns = args.logits.columns()};
  parallel_ranges(args.logits.rows(), rows.columns,
                  [&](Index begin, Index end) { table.cross_entropy(rows, begin, end); });
}

void cross_entropy_forward_backward(Stream&, const CrossEntropyForwardBackward& args) {
  const auto& state = *static_cast<const StepState*>(args.state.data());
  const CrossEntropyArgs rows = {.logits = rows_of(args.logits),
                                 .targets = args.targets.as<std::int32_t>(),
                                 .loss = args.loss.as<float>(),
                                 .d_logits = rows_of(args.d_logits),
                                 .columns = args.logits.columns(),
                                 .scale = static_cast<float>(args.scale * state.loss_scale)};
  const ElementKernels& table = kernels_of(args.d_logits.dtype());
  const auto kernel = args.logits.dtype() == args.d_logits.dtype() ? table.cross_entropy : table.cross_entropy_of_f32;
  parallel_ranges(args.logits.rows(), rows.columns, [&](Index begin, Index end) { kernel(rows, begin, end); });
}

}  // namespace primus::ops::cpu
