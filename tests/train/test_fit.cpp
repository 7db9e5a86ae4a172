#include <gtest/gtest.h>

#include "reference.h"
#include "train/fit.h"
#include "train/setup.h"

/// What is proposed where a run does not fit, and what `auto` recomputes.
namespace primus::train {
namespace {

class FitTest : public testing::Test {
 protected:
  void SetUp() override {
    config_ = reference::run_config("qwen3", reference::read_json(reference::folder("qwen3") / "sft.json"),
                                    /*lora=*/false, Device{});
    config_.micro_batch_size = 4;
    config_.seq_length = 1024;
    model_ = model::load_model_config(config_.hf_path);
    ops::use_cpu_backend();
  }

  std::size_t bytes(const config::RunConfig& config) const {
    return plan_memory(model_, training_options(config, model_, Device{}), Device{}).total;
  }
  model::DecoderOptions options(const model::RecomputePolicy& policy, bool offloading = false) const {
    model::DecoderOptions options = training_options(config_, model_, Device{});
    options.recompute = policy;
    options.cpu_offloading = offloading;
    return options;
  }
  std::size_t bytes(const model::RecomputePolicy& policy) const {
    return plan_memory(model_, options(policy), Device{}).total;
  }
  model::RecomputePolicy cheapest(std::size_t available) const {
    return cheapest_recompute(model_, options({}), Device{}, available);
  }
  std::string recomputed(const model::RecomputePolicy& policy, bool offloading = false) const {
    return describe_recompute(model_, options(policy, offloading));
  }

  config::RunConfig config_;
  model::ModelConfig model_;
};

TEST_F(FitTest, RecomputesNoMoreThanMemoryAsksFor) {
  const std::size_t all = bytes(model::RecomputePolicy());
  EXPECT_EQ(recomputed(cheapest(all)), "nothing");
  // two layers share one buffer for what they compute again, so two are the fewest that save memory
  EXPECT_EQ(recomputed(cheapest(all - 1)), "rotated queries and keys of 2 layers");
  const std::size_t least = bytes(cheapest(0));
  EXPECT_EQ(cheapest(0).spans.size(), static_cast<std::size_t>(model_.num_hidden_layers));
  EXPECT_LT(least, all);
  for (std::size_t available = least; available < all; available += (all - least) / 7) {
    EXPECT_LE(bytes(cheapest(available)), available);
  }
}

TEST_F(FitTest, OffloadedInputsLeaveRoomForOthers) {
  model_.num_hidden_layers = 8;
  const std::size_t all = bytes(model::RecomputePolicy());
  const auto offloaded = [&](std::size_t available) {
    return recomputed(cheapest_recompute(model_, options({}, true), Device{}, available), true);
  };
  EXPECT_NE(recomputed(cheapest(all - 1)), "nothing");
  EXPECT_EQ(offloaded(all - 1), "nothing");
  const std::size_t host = plan_memory(model_, options({}, true), Device{}).host_bytes;
  EXPECT_EQ(offloaded(all - host), "nothing");
  EXPECT_NE(offloaded(all - host - 1), "nothing");
}

TEST_F(FitTest, SaysWhatIsComputedAgain) {
  using enum config::RecomputeMethod;
  model_.num_hidden_layers = 8;
  const auto said = [&](config::RecomputeMethod method, int layers, bool offloading) {
    config_.recompute_granularity = config::RecomputeGranularity::kFull;
    config_.recompute_method = method;
    config_.recompute_num_layers = layers;
    return recomputed(recompute_policy(config_, model_.num_hidden_layers), offloading);
  };
  EXPECT_EQ(said(kUniform, 1, false), "all of 8 layers");
  EXPECT_EQ(said(kBlock, 3, false), "all of 3 layers");
  // attention's output comes back from the host, but for layers that are computed again together
  EXPECT_EQ(said(kUniform, 1, true), "all but attention of 8 layers");
  EXPECT_EQ(said(kBlock, 3, true), "all but attention of 3 layers");
  EXPECT_EQ(said(kUniform, 2, true), "all of 8 layers");
  EXPECT_EQ(recomputed({.keeps = {.norms = false, .attention = false}}, true),
            "norms of 8 layers, attention of 8 layers");
  EXPECT_EQ(plan_memory(model_, options({.keeps = {.norms = false}}), Device{}).recompute, "norms of 8 layers");
}

TEST_F(FitTest, OffloadingIsNothingForTheCpu) {
  config_.cpu_offloading = true;
  EXPECT_FALSE(training_options(config_, model_, Device{}).cpu_offloading);
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(config_) - 1);
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings.find("cpu_offloading"), std::string::npos) << fit->settings;
}

TEST_F(FitTest, RefusesToPinMoreThanTheHostHas) {
  MemoryPlan plan = plan_memory(model_, training_options(config_, model_, Device{}), Device{});
  plan.host_bytes = std::size_t{1} << 60;
  try {
    require_fit(config_, model_, plan, Device{});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find("cpu_offloading"), std::string::npos) << error.what();
  }
}

class GpuFit : public FitTest, public testing::WithParamInterface<Device> {};

TEST_P(GpuFit, ProposesToOffloadWhereItHelps) {
  const Device gpu = GetParam();
  model_.num_hidden_layers = 40;
  config_.recompute_granularity = config::RecomputeGranularity::kFull;
  const std::size_t full = plan_memory(model_, training_options(config_, model_, gpu), gpu).total;
  const auto fit = nearest_fit(config_, model_, gpu, full - 1);
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings, "--recompute_granularity auto --cpu_offloading true");
  EXPECT_LT(fit->bytes, full);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuFit);
INSTANTIATE_TEST_SUITE_P(Devices, GpuFit, testing::ValuesIn(test::gpus()),
                         [](const auto& info) { return std::string(name_of(info.param.type)); });

TEST_F(FitTest, ProposesTheNearestSettings) {
  const std::size_t all = bytes(config_);
  const auto first = nearest_fit(config_, model_, Device{}, all - 1);
  ASSERT_TRUE(first);
  EXPECT_LE(first->bytes, all - 1);
  EXPECT_NE(first->settings.find("recompute_granularity"), std::string::npos) << first->settings;

  config::RunConfig small = config_;
  small.micro_batch_size = 1;
  small.seq_length = 256;
  small.recompute_granularity = config::RecomputeGranularity::kFull;
  const auto last = nearest_fit(config_, model_, Device{}, bytes(small));
  ASSERT_TRUE(last);
  EXPECT_LE(last->bytes, bytes(small));
  EXPECT_FALSE(nearest_fit(config_, model_, Device{}, 1000));
}

}  // namespace
}  // namespace primus::train
