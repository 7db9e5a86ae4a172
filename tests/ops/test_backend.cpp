#include <gtest/gtest.h>

#include <cstring>

#include "ops/cpu/bf16_speed.h"
#include "ops/cpu_backend.h"
#include "ops/linear.h"
#include "support.h"
#include "tensor/backend.h"

namespace primus::test {
namespace {

const Backend& cpu() {
  ops::use_cpu_backend();
  return backend(DeviceType::kCpu);
}

TEST(CpuBackend, DescribesTheMachine) {
  EXPECT_EQ(cpu().device_count(), 1);
  EXPECT_NE(cpu().describe(0).find("thread"), std::string::npos) << cpu().describe(0);
  EXPECT_GT(cpu().memory_total(0), std::size_t{1} << 20);
  EXPECT_GT(cpu().memory_free(0), std::size_t{1} << 20);
  EXPECT_LE(cpu().memory_free(0), cpu().memory_total(0));
}

TEST(CpuBackend, MemoryIsAligned) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{256}, std::size_t{4097}, std::size_t{5} << 20}) {
    void* data = cpu().allocate(0, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 256, 0U);
    std::memset(data, 1, bytes);
    cpu().deallocate(0, data, bytes);
  }
}

TEST(CpuBackend, TooMuchMemoryNamesTheBytes) {
  const std::size_t bytes = std::size_t{1} << 60;
  try {
    cpu().allocate(0, bytes);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kHostLacks);
    EXPECT_NE(std::string(error.what()).find(std::to_string(bytes)), std::string::npos) << error.what();
  }
}

TEST(CpuBackend, EventsMeasureTime) {
  cpu();
  Stream stream(Device{});
  Event begin{Device{}};
  Event end{Device{}};
  begin.record(stream);
  end.record(stream);
  EXPECT_GE(begin.seconds_until(end), 0.0);
  EXPECT_LT(begin.seconds_until(end), 10.0);
}

TEST(CpuBackend, LevelsAreThoseOfTheMachine) {
  const std::vector<std::string> levels = ops::cpu::levels();
  ASSERT_FALSE(levels.empty());
  EXPECT_EQ(levels.back(), "generic");
  EXPECT_THROW(ops::cpu::use_level("avx9000"), Error);
  ops::cpu::use_level(levels.front());
}

/// bf16 is multiplied by the library's bf16 kernels or in f32, whichever is faster on the machine: both are right, also
/// where blocks of a large layer are converted one by one.
TEST(CpuBackend, BothWaysOfMultiplyingBF16Agree) {
  cpu();
  Stream stream(Device{});
  const DType type = DType::kBF16;
  const std::int64_t m = 130, n = 1500, k = 1100;  // the weight has more elements than a block
  const Matrix x = random_matrix(m, k, type, 1), w = random_matrix(n, k, type, 2), dy = random_matrix(m, n, type, 3);
  std::vector<Matrix> results[2];
  for (const bool native : {false, true}) {
    ops::cpu::pretend_bf16_products_are_fast(native);
    const DeviceData x_data(stream, type, x), w_data(stream, type, w), dy_data(stream, type, dy),
        y(stream, DType::kF32, Matrix(m, n)), dx(stream, DType::kF32, Matrix(m, k)),
        dw(stream, DType::kF32, filled(n, k, 1.0)), dw_bf16(stream, type, filled(n, k, 1.0));
    ops::linear_forward(stream, {.x = x_data, .weight = w_data, .y = y});
    ops::linear_backward_input(stream, {dy_data, w_data, dx, false});
    ops::linear_backward_weight(stream, {dy_data, x_data, dw});
    ops::linear_backward_weight(stream, {dy_data, x_data, dw_bf16});
    results[native ? 1 : 0] = {y.download(), dx.download(), dw.download(), dw_bf16.download()};
  }
  ops::cpu::pretend_bf16_products_are_fast(false);
  const double terms[] = {k, n, m, m};
  for (std::size_t i = 0; i < 4; ++i) {
    // standard normal factors: Σ|a·b| ≤ 2 · terms with room, errors of both ways at most terms · 2^-24 of that
    const double f32 = 2.0 * terms[i] * kF32 * 2.0 * terms[i], rounding = i == 3 ? 2.0 * unit_roundoff(type) : 0.0;
    expect_near(
        results[1][i], results[0][i],
        [&](std::int64_t r, std::int64_t c) { return f32 + rounding * std::fabs(results[0][i](r, c)); },
        fmt::format("result {}", i));
  }
}

}  // namespace
}  // namespace primus::test
