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
  std::size_t bytes(const model::RecomputePolicy& policy) const {
    model::DecoderOptions options = training_options(config_, model_, Device{});
    options.recompute = policy;
    return plan_memory(model_, options, Device{}).total;
  }
  model::RecomputePolicy cheapest(std::size_t available) const {
    return cheapest_recompute(model_, training_options(config_, model_, Device{}), Device{}, available);
  }

  config::RunConfig config_;
  model::ModelConfig model_;
};

TEST_F(FitTest, RecomputesNoMoreThanMemoryAsksFor) {
  const std::size_t all = bytes(model::RecomputePolicy());
  EXPECT_EQ(describe(cheapest(all), model_), "keeps everything");
  // two layers share one buffer for what they compute again, so two are the fewest that save memory
  EXPECT_EQ(describe(cheapest(all - 1), model_), "computes again: rotated queries and keys of 2 layers");
  const std::size_t least = bytes(cheapest(0));
  EXPECT_EQ(cheapest(0).spans.size(), static_cast<std::size_t>(model_.num_hidden_layers));
  EXPECT_LT(least, all);
  for (std::size_t available = least; available < all; available += (all - least) / 7) {
    EXPECT_LE(bytes(cheapest(available)), available);
  }
}

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
