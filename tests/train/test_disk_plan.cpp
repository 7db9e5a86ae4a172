#include <gtest/gtest.h>

#include "reference.h"
#include "train/disk_plan.h"
#include "train/setup.h"

/// What a run is going to write.
namespace primus::train {
namespace {

class DiskPlanTest : public testing::Test {
 protected:
  void SetUp() override {
    config_ = reference::run_config("qwen3", reference::read_json(reference::folder("qwen3") / "sft.json"),
                                    /*lora=*/false, Device{});
    config_.train_iters = 100;
    config_.save_interval = 10;
    config_.export_hf = true;
    model_ = model::load_model_config(config_.hf_path);
    ops::use_cpu_backend();
  }
  DiskPlan plan(std::int64_t iterations = 0, std::int64_t states = 0) const {
    return plan_disk(config_, model_, training_options(config_, model_, Device{}), iterations, states);
  }

  config::RunConfig config_;
  model::ModelConfig model_;
};

TEST_F(DiskPlanTest, CountsTheCheckpointsToCome) {
  EXPECT_EQ(plan().checkpoints, 10);
  EXPECT_EQ(plan(35).checkpoints, 7);
  EXPECT_EQ(plan(100).checkpoints, 0);
  config_.train_iters = 101;  // and one at the end
  EXPECT_EQ(plan().checkpoints, 11);
  config_.save_interval = 0;
  EXPECT_EQ(plan().checkpoints, 1);
  config_.save_interval = 500;
  EXPECT_EQ(plan().checkpoints, 1);
}

TEST_F(DiskPlanTest, CountsThoseThatAreThereAtATime) {
  config_.most_recent_k = 3;
  EXPECT_EQ(plan().checkpoints, 4);  // the oldest goes when the newest is whole
  EXPECT_EQ(plan(50, 3).checkpoints, 1);
  EXPECT_EQ(plan(50, 1).checkpoints, 3);
  EXPECT_EQ(plan(50, 9).checkpoints, 1);
  EXPECT_EQ(plan(80, 1).checkpoints, 2);
}

TEST_F(DiskPlanTest, CountsBytesByTheirTypes) {
  const std::uint64_t values = plan().checkpoint / 12;  // f32: value and two moments
  EXPECT_EQ(plan().checkpoint, 12 * values);
  EXPECT_EQ(plan().result, 4 * values);  // in the type of config.json
  EXPECT_EQ(plan().result_name, "hf");
  config_.main_params_dtype = config_.exp_avg_dtype = config_.exp_avg_sq_dtype = config::StateDType::kBf16;
  EXPECT_EQ(plan().checkpoint, 6 * values);
  config_.peft = config::Peft::kLora;
  EXPECT_LT(plan().checkpoint, 6 * values);
  EXPECT_EQ(plan().result, plan().checkpoint / 6 * 4);  // adapters are written in f32
  EXPECT_EQ(plan().result_name, "adapter");
  config_.export_hf = false;
  EXPECT_EQ(plan().result, 0U);
}

TEST_F(DiskPlanTest, IsSaidInWords) {
  EXPECT_EQ((DiskPlan{.checkpoint = 1 << 20, .checkpoints = 2, .result = 1 << 19, .result_name = "hf"}).summary(),
            "2 checkpoints of 1.0 MiB, hf/ 512.0 KiB: 2.5 MiB in all");
  EXPECT_EQ((DiskPlan{.checkpoint = 1 << 20, .checkpoints = 1}).summary(), "1 checkpoint of 1.0 MiB: 1.0 MiB in all");
  EXPECT_EQ(DiskPlan().summary(), "nothing");
}

}  // namespace
}  // namespace primus::train
