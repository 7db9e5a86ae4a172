#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/hf.h"
#include "checkpoint/peft.h"
#include "data/assemble.h"
#include "ops/step_state.h"
#include "reference.h"
#include "train/evaluate.h"
#include "train/optimizer.h"
#include "train/setup.h"

/// What a layer does not keep it computes again: the gradients are the same under every policy.
namespace primus::train {
namespace {

struct Case {
  reference::ModelOnDevice on;
  bool lora;
};

class Recompute : public testing::TestWithParam<Case> {
 protected:
  /// Of the mean loss over rows 0, 1 and 2, and then 3 and 4.
  std::vector<float> gradients(const model::RecomputePolicy& policy, double dropout = 0.0) const {
    const auto& [on, lora] = GetParam();
    config::RunConfig config = reference::run_config(
        on.model, reference::read_json(reference::folder(on.model) / "lora.json"), lora, on.device);
    config.micro_batch_size = 4;
    config.peft_dropout = dropout;
    const model::ModelConfig model = model::load_model_config(config.hf_path);
    model::DecoderOptions options = training_options(config, model, on.device);
    options.recompute = policy;
    Stream stream(on.device);
    Arena arena = Arena::allocate(on.device, plan_memory(model, options, on.device).total);
    DeviceMemory memory(model, options, arena);
    memory.initialize(stream);
    checkpoint::load_weights(config.hf_path, memory.decoder.parameters(), stream);
    if (lora) {
      checkpoint::load_adapter(reference::folder(on.model) / "lora_final", memory.decoder.parameters(), stream);
      model::publish_adapters(stream, memory.decoder.parameters());
    }
    initialize_state(stream, config, memory.state);
    ops::begin_step(stream, memory.state);
    const data::TokenSet set = reference::rows(on.model);
    data::MicroBatch host;
    for (const std::vector<std::uint32_t>& rows : {std::vector<std::uint32_t>{0, 1, 2}, {3, 4}}) {
      data::assemble(set, rows, host);
      const model::Pass pass{
          .stream = stream, .training = true, .seed = 7, .micro_batch = rows.front(), .accumulate = rows.front() > 0};
      memory.decoder.forward_backward(pass, upload(stream, memory, host), 0.01F, memory.state);
    }
    return reference::values(stream, memory.decoder.flat().gradients);
  }
};

std::vector<model::RecomputePolicy> policies() {
  using model::LayerKeeps;
  std::vector<model::RecomputePolicy> all;
  for (const LayerKeeps& keeps :
       {LayerKeeps{.norms = false}, LayerKeeps{.rotated = false}, LayerKeeps{.qkv = false},
        LayerKeeps{.qkv = false, .attention = false}, LayerKeeps{.gate_up = false},
        LayerKeeps{.norms = false, .qkv = false, .rotated = false, .gate_up = false},
        LayerKeeps{.norms = false, .qkv = false, .rotated = false, .attention = false, .gate_up = false}}) {
    all.push_back({.spans = {}, .keeps = keeps, .first_layers = {}});
    all.push_back({.spans = {}, .keeps = {}, .first_layers = {keeps}});
    all.push_back({.spans = {{0, 1}}, .keeps = keeps, .first_layers = {}});
  }
  all.push_back({.spans = {{0, 2}}, .keeps = {}, .first_layers = {}});
  all.push_back({.spans = {{0, 1}, {1, 2}, {2, 3}}, .keeps = {}, .first_layers = {}});
  return all;
}

TEST_P(Recompute, LeavesGradientsAsTheyAre) {
  const std::vector<float> expected = gradients({});
  const auto all = policies();
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_LT(reference::relative_difference(gradients(all[i]), expected), 1e-6) << "policy " << i;
  }
}

TEST_P(Recompute, DrawsDropoutAgain) {
  if (!GetParam().lora) return;
  const std::vector<float> expected = gradients({}, 0.2);
  EXPECT_GT(reference::relative_difference(gradients({}), expected), 1e-3);
  for (const model::RecomputePolicy& policy : policies()) {
    EXPECT_LT(reference::relative_difference(gradients(policy, 0.2), expected), 1e-6);
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& on : reference::on_all_devices({"qwen3", "llama31"})) {
    for (const bool lora : {false, true}) all.push_back({on, lora});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, Recompute, testing::ValuesIn(cases()), [](const auto& info) {
  return reference::name_of(info.param.on) + (info.param.lora ? "_lora" : "_sft");
});

}  // namespace
}  // namespace primus::train
