#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/hf.h"
#include "data/assemble.h"
#include "reference.h"
#include "train/evaluate.h"
#include "train/optimizer.h"
#include "train/setup.h"

/// How many rows of logits there are at a time changes nothing.
namespace primus::train {
namespace {

struct Result {
  double loss = 0.0;
  double evaluated_loss = 0.0;
  std::vector<float> gradients;
};

class LossHead : public testing::TestWithParam<reference::ModelOnDevice> {
 protected:
  LossHead()
      : job_(
            reference::job(GetParam().model,
                           reference::run_config(GetParam().model,
                                                 reference::read_json(reference::folder(GetParam().model) / "sft.json"),
                                                 /*lora=*/false, GetParam().device),
                           GetParam().device)) {
    job_.config.micro_batch_size = 8;
    const data::TokenSet set = reference::rows(GetParam().model);
    data::assemble(set, std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7}, host_);
  }

  std::int64_t trained() const { return static_cast<std::int64_t>(host_.trained_rows.size()); }

  Result run(std::int64_t logits_bytes) {
    model::DecoderOptions options = training_options(job_.config, job_.model, job_.device);
    options.logits_bytes = logits_bytes;
    Arena arena = Arena::allocate(job_.device, plan_memory(job_.model, options, job_.device).total);
    DeviceMemory memory(job_.model, options, arena);
    Stream stream(job_.device);
    memory.initialize(stream);
    checkpoint::load_weights(job_.checkpoint, memory.decoder.parameters(), stream);
    initialize_state(stream, job_.config, memory.state);

    Result result;
    const model::Batch batch = upload(stream, memory, host_);
    const auto loss = [&] {
      ops::StepState state{};
      stream.copy_to_host(&state, memory.state);
      return state.loss_sum / static_cast<double>(trained());
    };
    ops::begin_step(stream, memory.state);
    memory.decoder.forward_backward({.stream = stream, .training = true}, batch, 1.0F / static_cast<float>(trained()),
                                    memory.state);
    result.loss = loss();
    result.gradients = reference::values(stream, memory.decoder.flat().gradients);
    ops::begin_step(stream, memory.state);
    memory.decoder.evaluate({.stream = stream}, batch, memory.state);
    result.evaluated_loss = loss();
    return result;
  }

  TrainingJob job_;
  data::MicroBatch host_;
};

TEST_P(LossHead, GivesTheSameInPieces) {
  constexpr std::int64_t kFewestRows = 64;
  ASSERT_GT(trained(), 2 * kFewestRows) << "three pieces at least";
  const Result whole = run(std::int64_t{1} << 30), pieces = run(0);
  // sums of f32 in another order
  EXPECT_NEAR(pieces.loss, whole.loss, 1e-6 * whole.loss);
  EXPECT_NEAR(pieces.evaluated_loss, whole.loss, 1e-6 * whole.loss);
  double difference = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < whole.gradients.size(); ++i) {
    difference += std::pow(static_cast<double>(pieces.gradients[i]) - whole.gradients[i], 2);
    norm += std::pow(static_cast<double>(whole.gradients[i]), 2);
  }
  EXPECT_GT(norm, 0.0);
  EXPECT_LT(std::sqrt(difference / norm), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Models, LossHead, testing::ValuesIn(reference::on_all_devices({"qwen3", "qwen3_tied"})),
                         [](const auto& info) { return reference::name_of(info.param); });

}  // namespace
}  // namespace primus::train
