#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "checkpoint/safetensors.h"
#include "data/assemble.h"
#include "ops/step_state.h"
#include "reference.h"

namespace primus::train {
namespace {

std::vector<float> stored_values(const checkpoint::SafetensorsFile& file, const std::string& name) {
  const checkpoint::StoredTensor* tensor = file.find(name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<std::size_t>(tensor->numel()));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

/// Largest difference, by the largest magnitude of the expected values.
double relative_difference(const std::vector<float>& found, const std::vector<float>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(found[i]) - expected[i]));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

class Forward : public testing::TestWithParam<reference::ModelOnDevice> {
 protected:
  std::string workspace() const { return testing::TempDir() + "primus_forward_" + reference::name_of(GetParam()); }
};

TEST_P(Forward, LogitsLossAndGradientsEqualTransformers) {
  const auto& [name, device] = GetParam();
  const checkpoint::SafetensorsFile expected(reference::folder(name) / "forward.safetensors");
  config::RunConfig config =
      reference::run_config(name, reference::read_json(reference::folder(name) / "sft.json"), /*lora=*/false, device);
  config.workspace = workspace();
  config.micro_batch_size = 2;
  Trainer trainer(reference::job(name, config, device));
  Stream& stream = trainer.stream();
  DeviceMemory& memory = trainer.memory();

  const data::TokenSet set = reference::rows(name);
  const std::vector<std::uint32_t> both{0, 1};
  const data::MicroBatch host = data::assemble(set, both);
  const model::Batch batch = upload(stream, memory, host);
  const model::Pass pass{.stream = stream, .training = true};

  // logits, in chunks of what the head takes at a time
  const std::int64_t vocab = memory.decoder.config().vocab_size;
  for (int row = 0; row < 2; ++row) {
    std::vector<float> logits;
    std::vector<std::int32_t> rows;
    const std::int32_t first = host.cu_seqlens[row];
    for (std::int64_t t = 0; t < set.length(both[row]); ++t) rows.push_back(first + static_cast<std::int32_t>(t));
    ASSERT_LE(static_cast<std::int64_t>(rows.size()), memory.decoder.max_logit_rows());
    const reference::RowIndex index(stream, rows);
    const Tensor found =
        memory.decoder.logits(pass, batch, index.tensor, model::attend_over(memory.decoder.config(), batch));
    ASSERT_EQ(found.columns(), vocab);
    EXPECT_LT(
        relative_difference(reference::values(stream, found), stored_values(expected, fmt::format("logits_{}", row))),
        1e-5);
  }

  ops::begin_step(stream, memory.state);
  const Tensor gradients = memory.decoder.flat().gradients;  // those of a step before must not show
  const std::vector<float> nan(static_cast<std::size_t>(gradients.numel()), std::numeric_limits<float>::quiet_NaN());
  stream.copy_to_device(gradients, nan.data());
  const auto scale = 1.0F / static_cast<float>(host.trained_rows.size());
  memory.decoder.forward_backward(pass, batch, scale, memory.state);
  ops::StepState state{};
  stream.copy_to_host(&state, memory.state);
  const double loss = state.loss_sum / static_cast<double>(host.trained_rows.size());
  EXPECT_NEAR(loss, stored_values(expected, "loss").at(0), 1e-5);

  int compared = 0;
  for (const model::Parameter& parameter : memory.decoder.parameters().all()) {
    const auto gradient = stored_values(expected, "grad." + parameter.name);
    ASSERT_FALSE(gradient.empty()) << parameter.name;
    EXPECT_LT(relative_difference(reference::values(stream, parameter.gradient), gradient), 1e-4) << parameter.name;
    ++compared;
  }
  EXPECT_EQ(compared, std::count_if(expected.tensors().begin(), expected.tensors().end(),
                                    [](const auto& tensor) { return tensor.name.rfind("grad.", 0) == 0; }));
}

INSTANTIATE_TEST_SUITE_P(Models, Forward,
                         testing::ValuesIn(reference::on_all_devices({"qwen3", "qwen3_tied", "llama31", "qwen2"})),
                         [](const auto& info) { return reference::name_of(info.param); });

}  // namespace
}  // namespace primus::train
