#include "train/optimizer.h"

#include "ops/adamw.h"
#include "ops/step_state.h"

namespace primus::train {
namespace {

constexpr double kInitialLossScale = 65536.0;  // fp16: 2^16, halved until gradients are finite

bool scales_loss(const config::RunConfig& config) { return config.precision_config == config::Precision::kFp16Mixed; }

Tensor slice_of(const Tensor& flat, std::int64_t begin, std::int64_t end) {
  return flat ? flat.slice(begin, end) : Tensor();
}

}  // namespace

void initialize_state(Stream& stream, const config::RunConfig& config, const Tensor& state) {
  ops::StepState initial{};
  initial.loss_scale = scales_loss(config) ? kInitialLossScale : 1.0;
  initial.grad_multiplier = 1.0;
  stream.copy_to_device(state, &initial);
}

void update(Stream& stream, const config::RunConfig& config, double learning_rate, model::Decoder& decoder,
            const Tensor& state) {
  const model::FlatBuffers& flat = decoder.flat();
  ops::add_squared_norm(stream, flat.gradients, state);
  ops::decide_step(stream, {.state = state, .clip_grad = config.clip_grad, .dynamic_loss_scale = scales_loss(config)});
  for (const model::FlatSegment& segment : flat.segments) {
    if (segment.begin == segment.end) continue;
    ops::adamw(stream,
               {.grads = flat.gradients.slice(segment.begin, segment.end),
                .master = flat.master.slice(segment.begin, segment.end),
                .exp_avg = flat.exp_avg.slice(segment.begin, segment.end),
                .exp_avg_sq = flat.exp_avg_sq.slice(segment.begin, segment.end),
                .weights = segment.writes_weights ? slice_of(flat.weights, segment.begin, segment.end) : Tensor(),
                .lr = learning_rate,
                .beta1 = config.adam_beta1,
                .beta2 = config.adam_beta2,
                .eps = config.adam_eps,
                .weight_decay = segment.decays ? config.weight_decay : 0.0,
                .seed = config.seed,
                .first_element = static_cast<std::uint64_t>(segment.begin),
                .state = state});
  }
  model::publish_adapters(stream, decoder.parameters());
}

}  // namespace primus::train
