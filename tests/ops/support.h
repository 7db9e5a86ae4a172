#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/random.h"
#include "ops/step_state.h"
#include "tensor/arena.h"
#include "tensor/stream.h"
#include "tensor/tensor.h"

/// Every operation is tested on every device of this machine (the CPU once for each instruction-set level) against a
/// plain reference in double. References read the inputs as the element type holds them, so what they differ by is the
/// rounding of the operation alone; the bounds are argued from the formats.
namespace primus::test {

struct TestDevice {
  Device device;
  std::string level;  // of the CPU's kernels
};
std::vector<TestDevice> devices();
std::vector<DType> compute_types();

/// PRIMUS_TEST_SMALL=1: shapes as small as a kernel allows, for tools that slow it down a hundredfold
/// (scripts/gpu_test.sh). Every kernel still runs, but for the vendor's where PRIMUS_GEMM=plain and
/// PRIMUS_ATTENTION=wgmma leave them out.
bool wants_small_shapes();

/// Half the distance between neighbours, relative to the number: the error of one rounding.
double unit_roundoff(DType dtype);
/// The smallest normal number; below it roundings err by up to unit_roundoff · this.
double smallest_normal(DType dtype);
/// `value` as the type holds it.
double rounded(double value, DType dtype);

constexpr double kF32 = 0x1p-24;

/// An environment variable that is set while this lives.
class Setting {
 public:
  Setting(const char* name, const char* value);
  ~Setting();
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

/// A row-major matrix of doubles, for references.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(std::int64_t row_count, std::int64_t column_count)
      : rows(row_count), columns(column_count), values(static_cast<std::size_t>(row_count * column_count)) {}

  double& operator()(std::int64_t row, std::int64_t column) {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
  double operator()(std::int64_t row, std::int64_t column) const {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
};

/// Normal numbers times `deviation`, rounded to the type.
Matrix random_matrix(std::int64_t rows, std::int64_t columns, DType dtype, std::uint64_t seed, double deviation = 1.0);
Matrix filled(std::int64_t rows, std::int64_t columns, double value);

/// Numbers on a device. Matrices may have a row stride; the gaps between rows hold NaN, which an operation must neither
/// read nor overwrite (checked by `download`).
class DeviceData {
 public:
  DeviceData(Stream& stream, DType dtype, const Matrix& values, std::int64_t gap = 0);
  static DeviceData vector(Stream& stream, DType dtype, const Matrix& values);
  static DeviceData integers(Stream& stream, const std::vector<std::int32_t>& values);
  /// Memory that holds NaN in every type, so that what is read before it is written does not go unseen; nothing at all
  /// for the tools that see it (small shapes).
  static DeviceData bytes(Stream& stream, std::size_t count);
  static DeviceData step_state(Stream& stream, const ops::StepState& state);

  const Tensor& tensor() const { return tensor_; }
  operator const Tensor&() const { return tensor_; }  // NOLINT: an operation's argument

  Matrix download() const;
  ops::StepState download_state() const;
  /// The bits, to compare runs.
  std::vector<std::uint8_t> download_bytes() const;

 private:
  DeviceData(Stream& stream, Arena arena);

  Stream* stream_;
  Arena arena_;
  Tensor whole_;   // gaps included
  Tensor tensor_;  // without gaps
};

/// |actual − expected| ≤ bound(row, column) everywhere; NaN is never within a bound.
using Bound = std::function<double(std::int64_t row, std::int64_t column)>;
void expect_near(const Matrix& actual, const Matrix& expected, const Bound& bound, const std::string& what);
/// Relative to each expected number (with room for denormals of the type).
void expect_relative(const Matrix& actual, const Matrix& expected, double relative, DType dtype,
                     const std::string& what);

/// One device, one element type.
struct Case {
  TestDevice on;
  DType dtype;
};
std::ostream& operator<<(std::ostream& out, const Case& value);
std::vector<Case> cases();
std::string name_of_case(const testing::TestParamInfo<Case>& info);

/// Gaps between rows are multiples of these: rows begin anywhere, or where accesses of 16 bytes are possible.
constexpr std::int64_t kGapUnits[] = {1, 8};

class OpTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override;
  DType dtype() const { return GetParam().dtype; }
  Stream& stream() { return *stream_; }
  bool on_cpu() const { return GetParam().on.device.type == DeviceType::kCpu; }

  DeviceData matrix(const Matrix& values, std::int64_t gap = 0) { return {stream(), dtype(), values, gap}; }
  DeviceData vector(const Matrix& values) { return DeviceData::vector(stream(), dtype(), values); }
  /// What `run` leaves must not depend on the number of threads (CPU), and be the same every time (GPU).
  void expect_same_for_any_threads(const std::function<std::vector<std::uint8_t>()>& run);

 private:
  std::unique_ptr<Stream> stream_;
};

/// ∂f/∂x by central differences: (f(x + h) − f(x − h)) / 2h for each element.
Matrix finite_differences(const Matrix& x, const std::function<double(const Matrix&)>& f, double h = 1e-6);

#define PRIMUS_OP_TEST(Name)     \
  class Name : public OpTest {}; \
  INSTANTIATE_TEST_SUITE_P(Devices, Name, testing::ValuesIn(cases()), name_of_case)

}  // namespace primus::test
