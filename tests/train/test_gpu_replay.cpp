#include <gtest/gtest.h>

#include <filesystem>

#include "reference.h"

/// What runs on a GPU may differ in how it is put there and in what was measured before; `deterministic` runs may not
/// differ in their results.
namespace primus::train {
namespace {

struct Result {
  std::vector<double> losses, norms;
  std::vector<float> weights;
  std::size_t recordings = 0;
  bool operator==(const Result& other) const {
    return losses == other.losses && norms == other.norms && weights == other.weights;
  }
};

class GpuReplay : public testing::TestWithParam<Device> {
 protected:
  void TearDown() override {
    ::unsetenv("PRIMUS_CUDA_GRAPHS");
    ::unsetenv("PRIMUS_GEMM_CACHE");
    std::filesystem::remove_all(workspace_);
  }

  config::RunConfig config(bool lora) const {
    config::RunConfig config = reference::run_config(
        "qwen3", reference::read_json(reference::folder("qwen3") / (lora ? "lora.json" : "sft.json")), lora,
        GetParam());
    config.precision_config = config::Precision::kBf16Mixed;
    config.deterministic = true;
    config.workspace = workspace_;
    config.train_iters = 12;
    return config;
  }

  Result run(const config::RunConfig& config) const {
    Trainer trainer(reference::job("qwen3", config, GetParam()));
    Result result;
    const auto told = [&](const monitor::StepMetrics& step) {
      result.losses.push_back(step.loss);
      result.norms.push_back(step.grad_norm);
    };
    EXPECT_TRUE(trainer.run({.step = told, .validation = {}}, {}));
    result.weights = reference::values(trainer.stream(), trainer.memory().decoder.flat().master);
    result.recordings = trainer.memory().decoder.recordings();
    return result;
  }

  std::string workspace_ = testing::TempDir() + "primus_gpu_replay";
};

TEST_P(GpuReplay, RecordedPassesGiveTheSameBits) {
  for (const bool lora : {false, true}) {
    for (const bool packed : {false, true}) {
      config::RunConfig settings = config(lora);
      settings.packed_sequence = packed;
      if (packed) settings.global_batch_size = 2;
      ::setenv("PRIMUS_CUDA_GRAPHS", "off", 1);
      const Result plain = run(settings);
      EXPECT_EQ(plain.recordings, 0U);
      ::unsetenv("PRIMUS_CUDA_GRAPHS");
      const Result recorded = run(settings);
      EXPECT_GT(recorded.recordings, 0U) << (packed ? "packed" : "rows");
      EXPECT_EQ(recorded, plain) << (lora ? "lora " : "sft ") << (packed ? "packed" : "rows");
    }
  }
}

TEST_P(GpuReplay, DropoutIsNotRecorded) {
  config::RunConfig settings = config(/*lora=*/true);
  settings.peft_dropout = 0.1;
  EXPECT_EQ(run(settings).recordings, 0U);
}

TEST_P(GpuReplay, DeterministicRunsDoNotHangOnWhatWasTimed) {
  const config::RunConfig settings = config(/*lora=*/false);
  ::setenv("PRIMUS_GEMM_CACHE", "", 1);
  const Result cold = run(settings);
  const std::string folder = workspace_ + "/cache";
  ::setenv("PRIMUS_GEMM_CACHE", folder.c_str(), 1);
  config::RunConfig timed = settings;
  timed.deterministic = false;
  run(timed);  // leaves its choices in the cache
  EXPECT_EQ(run(settings), cold);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuReplay);
INSTANTIATE_TEST_SUITE_P(Devices, GpuReplay, testing::ValuesIn(test::gpus()),
                         [](const auto& info) { return std::string(name_of(info.param.type)); });

}  // namespace
}  // namespace primus::train
