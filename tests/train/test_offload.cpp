#include <gtest/gtest.h>

#include "data/assemble.h"
#include "ops/step_state.h"
#include "reference.h"
#include "train/fit.h"
#include "train/optimizer.h"
#include "train/setup.h"

/// Inputs of layers that wait in host memory come back as they were: not a bit of a run hangs on it.
namespace primus::train {
namespace {

struct Case {
  Device device;
  bool lora;
};

/// What a run leaves behind.
struct Result {
  std::vector<double> losses;  // sums, of training and evaluation
  std::vector<float> gradients, masters;
  std::size_t recordings = 0;
};

class Offload : public testing::TestWithParam<Case> {
 protected:
  static constexpr std::int64_t kLayers = 7;
  static constexpr std::size_t kSlots = model::OffloadedTensors::kSlots;

  void SetUp() override {
    const auto& [device, lora] = GetParam();
    config_ = reference::run_config("qwen3", reference::read_json(reference::folder("qwen3") / "sft.json"),
                                    /*lora=*/false, device);
    config_.peft = lora ? config::Peft::kLora : config::Peft::kNone;
    config_.peft_dim = 8;
    config_.precision_config = config::Precision::kBf16Mixed;
    config_.deterministic = true;
    config_.micro_batch_size = 4;
    model_ = model::load_model_config(config_.hf_path);
    model_.num_hidden_layers = kLayers;
  }
  void TearDown() override { ::unsetenv("PRIMUS_CUDA_GRAPHS"); }

  model::DecoderOptions options(const model::RecomputePolicy& policy, bool offloads) const {
    model::DecoderOptions options = training_options(config_, model_, GetParam().device);
    options.recompute = policy;
    options.cpu_offloading = offloads;
    return options;
  }
  MemoryPlan plan(const model::RecomputePolicy& policy, bool offloads) const {
    return plan_memory(model_, options(policy, offloads), GetParam().device);
  }

  /// Steps of two micro-batches of different sizes, an evaluation after each.
  Result run(const model::RecomputePolicy& policy, bool offloads) const {
    const Device device = GetParam().device;
    const int steps = device.type == DeviceType::kCpu ? 2 : 4;  // a GPU records a pass of the second, and plays it
    const model::DecoderOptions options = this->options(policy, offloads);
    Stream stream(device);
    Arena arena = Arena::allocate(device, plan_memory(model_, options, device).total);
    DeviceMemory memory(model_, options, arena);
    memory.initialize(stream);
    model::initialize_random(stream, memory.decoder.parameters(), 1);
    if (options.lora) model::initialize_adapters(stream, memory.decoder.parameters(), 2);
    initialize_state(stream, config_, memory.state);
    const data::TokenSet set = reference::rows("qwen3");
    Result result;
    data::MicroBatch host;
    const auto put_loss = [&] {
      ops::StepState state{};
      stream.copy_to_host(&state, memory.state);
      result.losses.push_back(state.loss_sum);
    };
    for (int step = 0; step < steps; ++step) {
      ops::begin_step(stream, memory.state);
      for (const std::vector<std::uint32_t>& rows : {std::vector<std::uint32_t>{0, 1, 2}, {3}}) {
        data::assemble(set, rows, host);
        const model::Pass pass{.stream = stream, .training = true, .accumulate = rows.front() > 0};
        memory.decoder.forward_backward(pass, upload(stream, memory, host), 0.01F, memory.state);
      }
      update(stream, config_, 1e-3, memory.decoder, memory.state);
      put_loss();
      ops::begin_step(stream, memory.state);
      memory.decoder.evaluate({.stream = stream}, upload(stream, memory, host), memory.state);
      put_loss();
    }
    result.gradients = reference::values(stream, memory.decoder.flat().gradients);
    result.masters = reference::values(stream, memory.decoder.flat().master);
    result.recordings = memory.decoder.recordings();
    return result;
  }

  model::RecomputePolicy policy(config::RecomputeMethod method, int layers) const {
    config::RunConfig config = config_;
    config.recompute_granularity = config::RecomputeGranularity::kFull;
    config.recompute_method = method;
    config.recompute_num_layers = layers;
    return recompute_policy(config, kLayers);
  }

  /// Nothing, whole layers in every grouping, and what `auto` takes between.
  std::vector<model::RecomputePolicy> policies() const {
    using enum config::RecomputeMethod;
    std::vector<model::RecomputePolicy> all = {
        {}, policy(kUniform, 1), policy(kUniform, 2), policy(kUniform, 3), policy(kBlock, 3)};
    const std::size_t most = plan({}, true).total, least = plan(all[1], true).total;
    for (std::size_t i = 1; i < 4; ++i) {
      all.push_back(cheapest_recompute(model_, options({}, true), GetParam().device, least + (most - least) * i / 4));
    }
    return all;
  }

  config::RunConfig config_;
  model::ModelConfig model_;
};

TEST_P(Offload, LeavesEveryBitAsItIs) {
  for (const model::RecomputePolicy& policy : policies()) {
    SCOPED_TRACE(describe_recompute(model_, options(policy, true)));
    const Result expected = run(policy, false), found = run(policy, true);
    EXPECT_EQ(found.losses, expected.losses);
    EXPECT_TRUE(found.gradients == expected.gradients);
    EXPECT_TRUE(found.masters == expected.masters);
    EXPECT_NE(found.losses[0], found.losses[2]) << "it learns";
  }
}

TEST_P(Offload, IsTheSameRecorded) {
  if (GetParam().device.type == DeviceType::kCpu) GTEST_SKIP() << "the CPU records nothing";
  const model::RecomputePolicy full = policy(config::RecomputeMethod::kUniform, 1);
  const Result recorded = run(full, true);
  EXPECT_GT(recorded.recordings, 0U);
  ::setenv("PRIMUS_CUDA_GRAPHS", "off", 1);
  const Result plain = run(full, true);
  EXPECT_EQ(plain.recordings, 0U);
  EXPECT_EQ(recorded.losses, plain.losses);
  EXPECT_TRUE(recorded.gradients == plain.gradients);
}

TEST_P(Offload, PlansWhatItMovesToTheHost) {
  const auto expect_moved = [&](const model::RecomputePolicy& policy, std::size_t to_host, std::size_t from_device) {
    SCOPED_TRACE(describe_recompute(model_, options(policy, true)));
    const MemoryPlan here = plan(policy, false), there = plan(policy, true);
    EXPECT_EQ(here.host_bytes, 0U);
    EXPECT_EQ(there.host_bytes, to_host);
    EXPECT_EQ(here.total - there.total, from_device);
  };
  const auto tokens = static_cast<std::size_t>(max_tokens(config_));
  const std::size_t element = size_of(options({}, false).compute_dtype);
  const auto rank = static_cast<std::size_t>(GetParam().lora ? config_.peft_dim : 0);
  const std::size_t input = tokens * static_cast<std::size_t>(model_.hidden_size) * element;
  const std::size_t attention = tokens * (static_cast<std::size_t>(model_.q_size()) + rank) * element +
                                tokens * static_cast<std::size_t>(model_.num_attention_heads) * sizeof(float);
  const std::size_t leave = kLayers - kSlots;
  using enum config::RecomputeMethod;
  expect_moved({}, leave * (input + attention), leave * (input + attention));
  // what is computed again without offloading has one place, and two with it
  expect_moved(policy(kUniform, 1), leave * (input + attention), leave * input - attention);
  expect_moved(policy(kUniform, 2), (4 - kSlots) * input, (4 - kSlots) * input);
  expect_moved(policy(kUniform, 4), 0, 0);  // two inputs stay where they are
  EXPECT_NE(plan({}, true).summary().find("host memory for what is offloaded"), std::string::npos);
  EXPECT_EQ(plan({}, false).summary().find("host memory"), std::string::npos);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Device& device : test::all_devices()) {
    for (const bool lora : {false, true}) all.push_back({device, lora});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Devices, Offload, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(name_of(info.param.device.type)) + (info.param.lora ? "_lora" : "_sft");
});

}  // namespace
}  // namespace primus::train
