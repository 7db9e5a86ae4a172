#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "reference.h"
#include "tensor/backend.h"

/// What a step may not do on a GPU: ask the device for memory, or let the host wait for it.
namespace primus::train {
namespace {

/// Counts calls of the back end.
struct Calls {
  int allocate = 0, create_event = 0, create_stream = 0, synchronize = 0, copy_to_host = 0;
  bool operator==(const Calls&) const = default;
};
Calls calls;
const Backend* counted = nullptr;

Backend counting(const Backend& backend) {
  counted = &backend;
  Backend wrapped = backend;
  wrapped.allocate = [](int index, std::size_t bytes) {
    ++calls.allocate;
    return counted->allocate(index, bytes);
  };
  wrapped.create_event = [](int index) {
    ++calls.create_event;
    return counted->create_event(index);
  };
  wrapped.create_stream = [](int index) {
    ++calls.create_stream;
    return counted->create_stream(index);
  };
  wrapped.synchronize = [](int index, void* stream) {
    ++calls.synchronize;
    counted->synchronize(index, stream);
  };
  wrapped.copy_to_host = [](int index, void* stream, void* host, const void* source, std::size_t bytes) {
    ++calls.copy_to_host;
    counted->copy_to_host(index, stream, host, source, bytes);
  };
  return wrapped;
}

class GpuStep : public testing::TestWithParam<Device> {
 protected:
  void TearDown() override {
    if (counted != nullptr) register_backend(*counted);
    std::filesystem::remove_all(workspace_);
  }
  std::string workspace_ = testing::TempDir() + "primus_gpu_step";
};

TEST_P(GpuStep, NeitherAllocatesNorWaits) {
  const Device device = GetParam();
  const Backend wrapped = counting(backend(device.type));
  register_backend(wrapped);
  config::RunConfig config = reference::run_config(
      "qwen3", reference::read_json(reference::folder("qwen3") / "lora.json"), /*lora=*/true, device);
  config.workspace = workspace_;
  std::vector<Calls> after;
  std::vector<std::size_t> free;
  {
    Trainer trainer(reference::job("qwen3", config, device));
    calls = {};
    const auto told = [&](const monitor::StepMetrics&) {
      after.push_back(calls);
      free.push_back(counted->memory_free(device.index));
    };
    ASSERT_TRUE(trainer.run({.step = told, .validation = {}}, {}));
  }
  ASSERT_GE(after.size(), 4U);
  for (std::size_t i = 0; i < after.size(); ++i) {
    // each step's state is read once, from a copy and on a stream that the next step does not wait for
    EXPECT_EQ(after[i], (Calls{.copy_to_host = static_cast<int>(i) + 1})) << "step " << i + 1;
    if (i > 1) {  // the first steps load kernels
      EXPECT_EQ(free[i], free[1]) << "step " << i + 1;
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuStep);
INSTANTIATE_TEST_SUITE_P(Devices, GpuStep, testing::ValuesIn(test::gpus()),
                         [](const auto& info) { return std::string(name_of(info.param.type)); });

}  // namespace
}  // namespace primus::train
