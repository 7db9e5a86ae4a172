#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "ops/table.h"
#include "reference.h"
#include "tensor/backend.h"

/// What a step may not do on a GPU: ask the device for memory, or let the host wait for it. And what a user reads when
/// the device fails.
namespace primus::train {
namespace {

/// Counts calls of the back end.
struct Calls {
  int allocate = 0, pin = 0, create_event = 0, create_stream = 0, synchronize = 0, copy_to_host = 0;
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
  wrapped.allocate_pinned = [](int index, std::size_t bytes) {
    ++calls.pin;
    return counted->allocate_pinned(index, bytes);
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
  void expect_steady(const config::RunConfig& config) const;

  std::string workspace_ = testing::TempDir() + "primus_gpu_step";
};

/// Trains, and looks at what each step asked of the back end.
void GpuStep::expect_steady(const config::RunConfig& config) const {
  const Device device = GetParam();
  SCOPED_TRACE(config.cpu_offloading ? "offloaded" : "all on the device");
  std::vector<Calls> after;
  std::vector<std::size_t> free;
  {
    calls = {};
    Trainer trainer(reference::job("qwen3", config, device));
    EXPECT_EQ(calls.pin, config.cpu_offloading ? 3 : 0);
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

TEST_P(GpuStep, NeitherAllocatesNorWaits) {
  const Device device = GetParam();
  const Backend wrapped = counting(backend(device.type));
  register_backend(wrapped);
  config::RunConfig config = reference::run_config(
      "qwen3", reference::read_json(reference::folder("qwen3") / "lora.json"), /*lora=*/true, device);
  config.workspace = workspace_;
  for (const bool offloads : {false, true}) {
    config.cpu_offloading = offloads;
    expect_steady(config);
  }
}

ops::Table faulty;
int steps_begun = 0;
constexpr int kFaultyStep = 3;

/// The back end, whose embedding writes to an address that is not there in one step.
Backend failing(const Backend& backend) {
  counted = &backend;
  faulty = *backend.ops;
  faulty.begin_step = [](Stream& stream, const Tensor& state) {
    ++steps_begun;
    counted->ops->begin_step(stream, state);
  };
  faulty.embedding_forward = [](Stream& stream, const ops::EmbeddingForward& args) {
    ops::EmbeddingForward wrong = args;
    if (steps_begun == kFaultyStep) {
      wrong.out = Tensor(reinterpret_cast<void*>(std::uintptr_t{0x1000}), args.out.dtype(), args.out.device(),
                         args.out.rows(), args.out.columns(), args.out.row_stride());
    }
    counted->ops->embedding_forward(stream, wrong);
  };
  Backend wrapped = backend;
  wrapped.ops = &faulty;
  return wrapped;
}

/// Trains over the failing back end, prints what it throws and leaves with its exit status. `waits` is the value of
/// PRIMUS_GPU_SYNC.
[[noreturn]] void train_and_fail(Device device, const char* waits) {
  ::setenv("PRIMUS_GPU_SYNC", waits, 1);
  const Backend wrapped = failing(backend(device.type));
  register_backend(wrapped);
  config::RunConfig config = reference::run_config(
      "qwen3", reference::read_json(reference::folder("qwen3") / "lora.json"), /*lora=*/true, device);
  config.workspace = testing::TempDir() + "primus_gpu_fault";
  try {
    Trainer trainer(reference::job("qwen3", config, device));
    trainer.run({}, {});
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(static_cast<int>(error.code()));
  }
  std::_Exit(0);
}

/// The device is lost with the process, so each fault has one of its own.
TEST_P(GpuStep, AnErrorOfTheDeviceNamesOperationAndStep) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto failed = testing::ExitedWithCode(static_cast<int>(ExitCode::kRunFailed));
  EXPECT_EXIT(train_and_fail(GetParam(), "1"), failed, "iteration 3: .*embedding_forward failed: .*illegal memory");
  // where nothing waits, what comes next finds it
  EXPECT_EXIT(train_and_fail(GetParam(), "0"), failed, "in or before iteration [34]: .*PRIMUS_GPU_SYNC=1");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuStep);
INSTANTIATE_TEST_SUITE_P(Devices, GpuStep, testing::ValuesIn(test::gpus()),
                         [](const auto& info) { return std::string(name_of(info.param.type)); });

}  // namespace
}  // namespace primus::train
