#include "support.h"

#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "ops/cpu_backend.h"
#include "tensor/float16.h"
#include "tests/devices.h"

namespace primus::test {

std::vector<TestDevice> devices() {
  ops::use_cpu_backend();
  std::vector<TestDevice> found;
  for (const std::string& level : ops::cpu::levels()) found.push_back({Device{DeviceType::kCpu, 0}, level});
  for (const Device& gpu : gpus()) found.push_back({gpu, ""});
  return found;
}

std::vector<DType> compute_types() { return {DType::kF32, DType::kBF16, DType::kF16}; }

Setting::Setting(const char* name, const char* value) : name_(name) {
  if (const char* before = std::getenv(name)) before_ = before;
  ::setenv(name, value, 1);
}

Setting::~Setting() {
  if (before_) {
    ::setenv(name_, before_->c_str(), 1);
  } else {
    ::unsetenv(name_);
  }
}

bool wants_small_shapes() {
  const char* value = std::getenv("PRIMUS_TEST_SMALL");
  return value != nullptr && std::string_view(value) == "1";
}

double unit_roundoff(DType dtype) {
  return dtype == DType::kF32 ? 0x1p-24 : dtype == DType::kBF16 ? 0x1p-8 : dtype == DType::kF16 ? 0x1p-11 : 0.0;
}

double smallest_normal(DType dtype) { return dtype == DType::kF16 ? 0x1p-14 : 0x1p-126; }

double rounded(double value, DType dtype) {
  const auto number = static_cast<float>(value);
  switch (dtype) {
    case DType::kBF16:
      return static_cast<double>(static_cast<float>(BFloat16(number)));
    case DType::kF16:
      return static_cast<double>(static_cast<float>(Float16(number)));
    default:
      return static_cast<double>(number);
  }
}

Matrix random_matrix(std::int64_t rows, std::int64_t columns, DType dtype, std::uint64_t seed, double deviation) {
  Matrix made(rows, columns);
  const Philox random{seed, 17};
  for (std::size_t i = 0; i < made.values.size(); ++i) {
    made.values[i] = rounded(deviation * static_cast<double>(random.normal(i)), dtype);
  }
  return made;
}

Matrix filled(std::int64_t rows, std::int64_t columns, double value) {
  Matrix made(rows, columns);
  for (double& entry : made.values) entry = value;
  return made;
}

namespace {

void encode(double value, DType dtype, std::uint8_t* to) {
  const auto number = static_cast<float>(value);
  if (dtype == DType::kF32) {
    std::memcpy(to, &number, sizeof number);
  } else if (dtype == DType::kBF16) {
    const BFloat16 bits(number);
    std::memcpy(to, &bits, sizeof bits);
  } else {
    const Float16 bits(number);
    std::memcpy(to, &bits, sizeof bits);
  }
}

double decode(const std::uint8_t* from, DType dtype) {
  if (dtype == DType::kF32) {
    float number;
    std::memcpy(&number, from, sizeof number);
    return static_cast<double>(number);
  }
  if (dtype == DType::kBF16) {
    BFloat16 bits;
    std::memcpy(&bits, from, sizeof bits);
    return static_cast<double>(static_cast<float>(bits));
  }
  Float16 bits;
  std::memcpy(&bits, from, sizeof bits);
  return static_cast<double>(static_cast<float>(bits));
}

Arena room_for(Stream& stream, std::size_t bytes) { return Arena::allocate(stream.device(), bytes); }

}  // namespace

DeviceData::DeviceData(Stream& stream, Arena arena) : stream_(&stream), arena_(std::move(arena)) {}

DeviceData::DeviceData(Stream& stream, DType dtype, const Matrix& values, std::int64_t gap)
    : DeviceData(stream,
                 room_for(stream, static_cast<std::size_t>(values.rows * (values.columns + gap)) * size_of(dtype))) {
  const std::int64_t stride = values.columns + gap;
  whole_ = arena_.matrix(MemoryKind::kWorkspace, "test", dtype, values.rows, stride);
  tensor_ = whole_.columns(0, values.columns);
  std::vector<std::uint8_t> host(whole_.bytes());
  for (std::int64_t i = 0; i < values.rows; ++i) {
    for (std::int64_t j = 0; j < stride; ++j) {
      const double value = j < values.columns ? values(i, j) : std::numeric_limits<double>::quiet_NaN();
      encode(value, dtype, host.data() + static_cast<std::size_t>(i * stride + j) * size_of(dtype));
    }
  }
  stream.copy_to_device(whole_, host.data());
}

DeviceData DeviceData::vector(Stream& stream, DType dtype, const Matrix& values) {
  DeviceData made(stream, dtype, values);
  made.tensor_ = made.whole_ = made.whole_.as_vector();
  return made;
}

DeviceData DeviceData::integers(Stream& stream, const std::vector<std::int32_t>& values) {
  DeviceData made(stream, room_for(stream, values.size() * sizeof(std::int32_t)));
  made.tensor_ = made.whole_ =
      made.arena_.vector(MemoryKind::kWorkspace, "test", DType::kI32, static_cast<std::int64_t>(values.size()));
  stream.copy_to_device(made.whole_, values.data());
  return made;
}

DeviceData DeviceData::bytes(Stream& stream, std::size_t count) {
  DeviceData made(stream, room_for(stream, count));
  made.tensor_ = made.whole_ =
      made.arena_.vector(MemoryKind::kWorkspace, "test", DType::kU8, static_cast<std::int64_t>(count));
  if (!wants_small_shapes()) stream.copy_to_device(made.whole_, std::vector<std::uint8_t>(count, 0xFF).data());
  return made;
}

DeviceData DeviceData::step_state(Stream& stream, const ops::StepState& state) {
  DeviceData made = bytes(stream, sizeof state);
  stream.copy_to_device(made.whole_, &state);
  return made;
}

std::vector<std::uint8_t> DeviceData::download_bytes() const {
  std::vector<std::uint8_t> host(whole_.bytes());
  stream_->copy_to_host(host.data(), whole_);
  return host;
}

Matrix DeviceData::download() const {
  const std::vector<std::uint8_t> host = download_bytes();
  Matrix values(tensor_.rows(), tensor_.columns());
  const std::int64_t stride = whole_.columns();
  for (std::int64_t i = 0; i < tensor_.rows(); ++i) {
    for (std::int64_t j = 0; j < stride; ++j) {
      const double value =
          decode(host.data() + static_cast<std::size_t>(i * stride + j) * size_of(whole_.dtype()), whole_.dtype());
      if (j < values.columns) {
        values(i, j) = value;
      } else {
        EXPECT_TRUE(std::isnan(value)) << "the gap after row " << i << " was overwritten at column " << j;
      }
    }
  }
  return values;
}

ops::StepState DeviceData::download_state() const {
  ops::StepState state{};
  stream_->copy_to_host(&state, whole_);
  return state;
}

void expect_near(const Matrix& actual, const Matrix& expected, const Bound& bound, const std::string& what) {
  ASSERT_EQ(actual.rows, expected.rows) << what;
  ASSERT_EQ(actual.columns, expected.columns) << what;
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < actual.rows; ++i) {
    for (std::int64_t j = 0; j < actual.columns; ++j) {
      const double error = std::fabs(actual(i, j) - expected(i, j));
      if (error <= bound(i, j)) continue;
      if (++wrong <= 3) {
        ADD_FAILURE() << what << " at (" << i << ", " << j << "): " << actual(i, j) << ", expected " << expected(i, j)
                      << ", error " << error << ", allowed " << bound(i, j);
      }
    }
  }
  EXPECT_EQ(wrong, 0) << what << ": elements out of bounds of " << actual.values.size();
}

void expect_relative(const Matrix& actual, const Matrix& expected, double relative, DType dtype,
                     const std::string& what) {
  const double denormal = smallest_normal(dtype) * (2.0 * unit_roundoff(dtype) + relative);
  expect_near(
      actual, expected, [&](std::int64_t i, std::int64_t j) { return relative * std::fabs(expected(i, j)) + denormal; },
      what);
}

std::ostream& operator<<(std::ostream& out, const Case& value) {
  return out << primus::name_of(value.on.device.type) << " " << value.on.level << " " << primus::name_of(value.dtype);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const TestDevice& on : devices()) {
    for (const DType dtype : compute_types()) all.push_back({on, dtype});
  }
  return all;
}

std::string name_of_case(const testing::TestParamInfo<Case>& info) {
  const Case& value = info.param;
  std::string name = primus::name_of(value.on.device.type);
  if (!value.on.level.empty()) name += "_" + value.on.level;
  return name + "_" + primus::name_of(value.dtype);
}

void OpTest::SetUp() {
  ops::use_cpu_backend();
  if (on_cpu()) ops::cpu::use_level(GetParam().on.level);
  stream_ = std::make_unique<Stream>(GetParam().on.device);
}

void OpTest::expect_same_for_any_threads(const std::function<std::vector<std::uint8_t>()>& run) {
  if (!on_cpu()) {
    EXPECT_EQ(run(), run()) << "two runs give other bits";
    return;
  }
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<std::uint8_t> serial = run();
  for (const int count : {2, 3}) {
    omp_set_num_threads(count);
    EXPECT_EQ(run(), serial) << count << " threads give other bits than one";
  }
  omp_set_num_threads(threads);
}

Matrix finite_differences(const Matrix& x, const std::function<double(const Matrix&)>& f, double h) {
  Matrix gradient(x.rows, x.columns), moved = x;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    moved.values[i] = x.values[i] + h;
    const double above = f(moved);
    moved.values[i] = x.values[i] - h;
    const double below = f(moved);
    moved.values[i] = x.values[i];
    gradient.values[i] = (above - below) / (2.0 * h);
  }
  return gradient;
}

}  // namespace primus::test
