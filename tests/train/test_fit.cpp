#include <gtest/gtest.h>

#include <chrono>

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
    config_.global_batch_size = 8;
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
  EXPECT_EQ(fit->settings, "--cpu_offloading true");  // `auto` would recompute every layer too
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
  EXPECT_EQ(first->settings, "--recompute_granularity auto");
  EXPECT_EQ(first->changes, "");

  config::RunConfig small = config_;
  small.micro_batch_size = 1;
  small.seq_length = 256;
  small.recompute_granularity = config::RecomputeGranularity::kFull;
  const auto last = nearest_fit(config_, model_, Device{}, bytes(small));
  ASSERT_TRUE(last);
  EXPECT_LE(last->bytes, bytes(small));
  EXPECT_FALSE(nearest_fit(config_, model_, Device{}, 1000));
}

TEST_F(FitTest, ProposesARecomputePolicyThatTheConfigurationTakes) {
  config_.recompute_granularity = config::RecomputeGranularity::kSelective;
  config_.recompute_modules = {"layernorm"};
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(config_) - 1);
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings, "--recompute_granularity auto --recompute_method null --recompute_modules null");
}

TEST_F(FitTest, ProposesRowsThatDivideTheGlobalBatch) {
  config_.global_batch_size = 9;
  config_.micro_batch_size = 9;
  config_.recompute_granularity = config::RecomputeGranularity::kFull;
  config::RunConfig smaller = config_;
  smaller.micro_batch_size = 3;
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(smaller));
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings, "--micro_batch_size 3");
}

TEST_F(FitTest, GivesDigitsBeforeItChangesTheRun) {
  model_.vocab_size = 50'000;  // states that count
  config_.precision_config = config::Precision::kBf16Mixed;
  config_.micro_batch_size = 1;
  config_.recompute_granularity = config::RecomputeGranularity::kFull;
  config::RunConfig rounded = config_;
  rounded.exp_avg_dtype = rounded.exp_avg_sq_dtype = rounded.main_grads_dtype = config::StateDType::kBf16;
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(rounded));
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings, "--main_grads_dtype bf16 --exp_avg_dtype bf16 --exp_avg_sq_dtype bf16");
  EXPECT_EQ(fit->changes, "");
}

TEST_F(FitTest, LowersTheRankOfNewAdaptersAtTheSameScale) {
  config_.peft = config::Peft::kLora;
  config_.peft_dim = 4096;
  config_.peft_alpha = 8192.0;
  config_.micro_batch_size = 1;
  config_.precision_config = config::Precision::kBf16Mixed;
  config_.recompute_granularity = config::RecomputeGranularity::kFull;
  config_.main_params_dtype = config_.main_grads_dtype = config::StateDType::kBf16;
  config_.exp_avg_dtype = config_.exp_avg_sq_dtype = config::StateDType::kBf16;
  config::RunConfig lower = config_;
  lower.peft_dim = 512;
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(lower));
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings, "--peft_dim 512 --peft_alpha 1024.0");
  EXPECT_EQ(fit->changes, "adapters have rank 512 instead of 4096");

  config_.peft_adapter = "adapter";  // which has its rank
  const auto continued = nearest_fit(config_, model_, Device{}, bytes(lower));
  EXPECT_TRUE(!continued || continued->settings.find("peft_dim") == std::string::npos) << continued->settings;
}

TEST_F(FitTest, ChangesOneThingBeforeTwo) {
  config_.peft = config::Peft::kLora;
  config_.micro_batch_size = 1;
  config_.seq_length = 65'536;
  config::RunConfig shorter = config_;
  shorter.seq_length = 3072;
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(shorter));
  ASSERT_TRUE(fit);
  EXPECT_LE(fit->bytes, bytes(shorter));
  EXPECT_NE(fit->settings.find("--seq_length "), std::string::npos) << fit->settings;
  EXPECT_EQ(fit->settings.find("peft_dim"), std::string::npos) << fit->settings;
  EXPECT_EQ(fit->settings.find("exp_avg"), std::string::npos) << "turned back: " << fit->settings;
  EXPECT_EQ(fit->changes.find("rows are cut at "), 0U) << fit->changes;

  config_.peft_dim = 1024;
  shorter.seq_length = 256;
  shorter.peft_dim = 16;
  const auto both = nearest_fit(config_, model_, Device{}, bytes(shorter));
  ASSERT_TRUE(both);
  EXPECT_NE(both->changes.find("instead of 1024, rows are cut at "), std::string::npos) << both->changes;
}

TEST_F(FitTest, ProposesAdaptersWhereTheWeightsStatesDoNotFit) {
  model_.vocab_size = 1'000'000;
  config_.micro_batch_size = 1;
  config_.seq_length = 256;
  config::RunConfig lora = config_;
  lora.peft = config::Peft::kLora;
  const auto fit = nearest_fit(config_, model_, Device{}, bytes(lora));
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->settings, "--peft lora");
  EXPECT_EQ(fit->changes, "adapters of rank 32 are trained instead of all weights");
  EXPECT_NE(fit->text().find("It fits with --peft lora ("), std::string::npos);
  EXPECT_NE(fit->text().find("). This changes the run: adapters"), std::string::npos) << fit->text();
}

/// The shape of Llama 3.1 70B, on a device that takes nothing of it: everything is tried.
TEST_F(FitTest, AnswersInUnderASecond) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers are slow";
#endif
  model_.hidden_size = 8192;
  model_.intermediate_size = 28672;
  model_.num_hidden_layers = 80;
  model_.num_attention_heads = 64;
  model_.num_key_value_heads = 8;
  model_.head_dim = 128;
  model_.vocab_size = 128'256;
  config_.global_batch_size = 128;
  config_.micro_batch_size = 128;
  config_.seq_length = 131'072;
  for (const config::Peft peft : {config::Peft::kNone, config::Peft::kLora}) {
    config_.peft = peft;
    config_.peft_dim = 1024;
    for (const std::size_t gibibytes : {1, 2000}) {
      const auto begin = std::chrono::steady_clock::now();
      const auto fit = nearest_fit(config_, model_, Device{}, gibibytes << 30);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
      EXPECT_EQ(fit.has_value(), gibibytes > 1) << gibibytes;
    }
  }
}

}  // namespace
}  // namespace primus::train
