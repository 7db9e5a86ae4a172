#include "ops/gpu/blas_lt.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "ops/gpu/device.h"
#include "ops/gpu/stream_state.h"

namespace primus::ops::gpu {
namespace {

/// A product smaller than this takes less time than starting it: there is nothing to choose.
constexpr double kTimedFlops = 1e9;
constexpr int kCandidates = 16;
constexpr double kNever = std::numeric_limits<double>::infinity();

void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(fmt::format("cuBLASLt: {} failed: {}", what, cublasLtGetStatusString(status)));
}
#define BLAS_CHECK(call) check_blas(call, #call)

cudaDataType_t blas_type(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return CUDA_R_16BF;
    case DType::kF16:
      return CUDA_R_16F;
    default:
      PRIMUS_CHECK(dtype == DType::kF32, name_of(dtype));
      return CUDA_R_32F;
  }
}

struct Layout {
  Layout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    BLAS_CHECK(cublasLtMatrixLayoutCreate(&value, blas_type(dtype), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), ld));
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(value); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t value = nullptr;
};

struct Description {
  Description() { BLAS_CHECK(cublasLtMatmulDescCreate(&value, CUBLAS_COMPUTE_32F, CUDA_R_32F)); }
  ~Description() { cublasLtMatmulDescDestroy(value); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& setting) {
    BLAS_CHECK(cublasLtMatmulDescSetAttribute(value, attribute, &setting, sizeof setting));
  }
  cublasLtMatmulDesc_t value = nullptr;
};

struct Preference {
  Preference() { BLAS_CHECK(cublasLtMatmulPreferenceCreate(&value)); }
  ~Preference() { cublasLtMatmulPreferenceDestroy(value); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;

  template <typename T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& setting) {
    BLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(value, attribute, &setting, sizeof setting));
  }
  cublasLtMatmulPreference_t value = nullptr;
};

struct TimingEvent {
  TimingEvent() { GPU_CHECK(gpuEventCreate(&value)); }
  ~TimingEvent() { gpuEventDestroy(value); }
  TimingEvent(const TimingEvent&) = delete;
  TimingEvent& operator=(const TimingEvent&) = delete;
  gpuEvent_t value = nullptr;
};

/// Memory for results that are only timed; null when the device has none left.
struct TrialMemory {
  explicit TrialMemory(std::size_t bytes) {
    if (gpuMalloc(&data, bytes) != gpuSuccess) {
      gpuGetLastError();
      data = nullptr;
    }
  }
  ~TrialMemory() {
    if (data != nullptr) gpuFree(data);
  }
  TrialMemory(const TrialMemory&) = delete;
  TrialMemory& operator=(const TrialMemory&) = delete;
  void* data = nullptr;
};

/// The number of tokens changes from batch to batch; about equal ones share the choice.
GemmShape representative(GemmShape shape) {
  std::int64_t& tokens = shape.transpose_b ? shape.k : shape.n;  // k in gradients of weights, else n
  const std::int64_t step = tokens <= 1024 ? 128 : 512;
  tokens = (tokens + step - 1) / step * step;
  return shape;
}

GemmCache::Algorithm words_of(const cublasLtMatmulAlgo_t& algorithm) {
  GemmCache::Algorithm words{};
  static_assert(sizeof words == sizeof algorithm);
  std::memcpy(words.data(), &algorithm, sizeof words);
  return words;
}

cublasLtMatmulAlgo_t algorithm_of(const GemmCache::Algorithm& words) {
  cublasLtMatmulAlgo_t algorithm{};
  std::memcpy(&algorithm, words.data(), sizeof algorithm);
  return algorithm;
}

const char* alignment_letter(int bytes) { return bytes >= 16 ? "" : bytes >= 8 ? "h" : bytes >= 4 ? "w" : "b"; }

}  // namespace

std::string GemmShape::key() const {
  const std::string c = adds_c ? fmt::format("+{}{}", ldc, alignment_letter(alignment_c)) : "";
  return fmt::format("{}{}{}{}_m{}_n{}_k{}_{}{}_{}{}_{}{}{}", name_of(in), name_of(out), transpose_a ? "t" : "n",
                     transpose_b ? "t" : "n", m, n, k, lda, alignment_letter(alignment_a), ldb,
                     alignment_letter(alignment_b), ldd, alignment_letter(alignment_d), c);
}

std::size_t GemmShapeHash::operator()(const GemmShape& shape) const {
  std::uint64_t hash = static_cast<std::uint64_t>(shape.in) * 8 + static_cast<std::uint64_t>(shape.out);
  for (const std::int64_t number : {shape.m, shape.n, shape.k, shape.lda, shape.ldb, shape.ldc, shape.ldd,
                                    std::int64_t{shape.transpose_a} * 2 + std::int64_t{shape.transpose_b}}) {
    hash = (hash ^ static_cast<std::uint64_t>(number)) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

struct BlasLt::Plan {
  explicit Plan(const GemmShape& shape)
      : a(shape.in, shape.transpose_a ? shape.k : shape.m, shape.transpose_a ? shape.m : shape.k, shape.lda),
        b(shape.in, shape.transpose_b ? shape.n : shape.k, shape.transpose_b ? shape.k : shape.n, shape.ldb),
        c(shape.out, shape.m, shape.n, shape.ldc),
        d(shape.out, shape.m, shape.n, shape.ldd),
        beta(shape.adds_c ? 1.0F : 0.0F) {
    description.set(CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    description.set(CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  }

  Description description;
  Layout a, b, c, d;
  float beta;
  std::optional<cublasLtMatmulAlgo_t> algorithm;
};

BlasLt::Handle::Handle() { BLAS_CHECK(cublasLtCreate(&value)); }
BlasLt::Handle::~Handle() { cublasLtDestroy(value); }

BlasLt::BlasLt(const Stream& stream)
    : cache_(fmt::format("{}_cublaslt{}", device_name(stream.device().index), cublasLtGetVersion())) {}

BlasLt::~BlasLt() { cache_.save(); }

std::vector<cublasLtMatmulAlgo_t> BlasLt::candidates(const Plan& plan, const GemmShape& shape, std::size_t workspace,
                                                     int most) const {
  Preference preference;
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace);
  preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                 static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const auto set_alignment = [&](cublasLtMatmulPreferenceAttributes_t attribute, int bytes) {
    preference.set(attribute, static_cast<std::uint32_t>(bytes));
  };
  set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.alignment_a);
  set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.alignment_b);
  set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.alignment_c);
  set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.alignment_d);
  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> results{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_.value, plan.description.value, plan.a.value, plan.b.value, plan.c.value,
                                     plan.d.value, preference.value, most, results.data(), &count);
  std::vector<cublasLtMatmulAlgo_t> found;
  if (status != CUBLAS_STATUS_SUCCESS) return found;
  for (int i = 0; i < count; ++i) {
    const cublasLtMatmulHeuristicResult_t& result = results.at(static_cast<std::size_t>(i));
    if (result.state == CUBLAS_STATUS_SUCCESS) found.push_back(result.algo);
  }
  return found;
}

cublasStatus_t BlasLt::run(const Stream& stream, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                           const GemmOperands& operands, void* d) const {
  const Workspace workspace = workspace_of(stream);
  return cublasLtMatmul(handle_.value, plan.description.value, &operands.alpha, operands.a, plan.a.value, operands.b,
                        plan.b.value, &plan.beta, operands.c, plan.c.value, d, plan.d.value, &algorithm, workspace.data,
                        workspace.bytes, stream_of(stream));
}

double BlasLt::time(const Stream& stream, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                    const GemmOperands& operands, void* d, double best) const {
  constexpr int kRuns = 4;
  const gpuStream_t on = stream_of(stream);
  const TimingEvent begin, end;
  const auto seconds_of = [&](int runs) {
    GPU_CHECK(gpuEventRecord(begin.value, on));
    for (int i = 0; i < runs; ++i) {
      if (run(stream, plan, algorithm, operands, d) != CUBLAS_STATUS_SUCCESS) return kNever;
    }
    GPU_CHECK(gpuEventRecord(end.value, on));
    GPU_CHECK(gpuEventSynchronize(end.value));
    float milliseconds = 0.0F;
    GPU_CHECK(gpuEventElapsedTime(&milliseconds, begin.value, end.value));
    return static_cast<double>(milliseconds) * 1e-3 / runs;
  };
  if (seconds_of(1) > 3.0 * best) return kNever;  // the first run loads the kernel's code, hence the margin
  return std::min(seconds_of(kRuns), seconds_of(kRuns));
}

void BlasLt::choose(const Stream& stream, Plan& plan, const GemmShape& shape, const GemmOperands& operands) {
  const std::size_t workspace = workspace_of(stream).bytes;
  if (state_of(stream).deterministic) {
    // the library's first guess, which hangs on the shape alone: what was timed would be another in the next process
    const std::vector<cublasLtMatmulAlgo_t> found = candidates(plan, shape, workspace, 1);
    if (!found.empty()) plan.algorithm = found.front();
    return;
  }
  const std::string key = representative(shape).key();
  if (const auto known = cache_.find(key)) {
    const cublasLtMatmulAlgo_t algorithm = algorithm_of(*known);
    cublasLtMatmulHeuristicResult_t result{};
    if (cublasLtMatmulAlgoCheck(handle_.value, plan.description.value, plan.a.value, plan.b.value, plan.c.value,
                                plan.d.value, &algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
        result.workspaceSize <= workspace) {
      plan.algorithm = algorithm;
      return;
    }
  }
  const std::vector<cublasLtMatmulAlgo_t> found = candidates(plan, shape, workspace, kCandidates);
  if (found.empty()) return;
  plan.algorithm = found.front();
  if (shape.flops() < kTimedFlops || found.size() == 1) return;

  // a product that adds to its own D is timed into other memory: D must be added to once
  const std::size_t bytes = static_cast<std::size_t>(shape.ldd * shape.n) * size_of(shape.out);
  std::optional<TrialMemory> trial;
  if (shape.adds_c && operands.c == operands.d) trial.emplace(bytes);
  void* d = trial ? trial->data : operands.d;
  if (d == nullptr) {
    log::debug("{}: no memory to time the algorithms in, taking the first", key);
    return;
  }
  double best = kNever;
  for (const cublasLtMatmulAlgo_t& candidate : found) {
    const double seconds = time(stream, plan, candidate, operands, d, best);
    if (seconds >= best) continue;
    best = seconds;
    plan.algorithm = candidate;
  }
  log::debug("{}: {:.1f} us, {:.0f} TFLOP/s, best of {}", key, best * 1e6, shape.flops() / best * 1e-12, found.size());
  if (best < kNever) cache_.put(key, words_of(*plan.algorithm), best);
}

BlasLt::Plan& BlasLt::plan_of(const Stream& stream, const GemmShape& shape, const GemmOperands& operands) {
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (plan == nullptr) {
    auto made = std::make_unique<Plan>(shape);
    choose(stream, *made, shape, operands);
    plan = std::move(made);
  }
  return *plan;
}

bool BlasLt::multiply(const Stream& stream, const GemmShape& shape, const GemmOperands& operands) {
  const Plan& plan = plan_of(stream, shape, operands);
  if (!plan.algorithm) return false;
  check_blas(run(stream, plan, *plan.algorithm, operands, operands.d), "cublasLtMatmul");
  return true;
}

}  // namespace primus::ops::gpu
