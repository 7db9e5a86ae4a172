#include "ops/gpu/attention_cudnn.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <vector>

// The front end's headers take minutes to compile: no other file includes them. It calls cuDNN through cudnn_dlhandle.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#include <cudnn_frontend.h>

#include "base/log.h"
#include "ops/gpu/runtime.h"

void* cudnn_frontend::cudnn_dlhandle = nullptr;

namespace primus::ops::gpu {
namespace {

namespace fe = cudnn_frontend;
namespace graph = cudnn_frontend::graph;

/// What a plan depends on.
struct Problem {
  bool backward;
  DType dtype;
  AttentionShape shape;
  EqualDocuments documents;
  // elements between rows; 0: not there
  std::int64_t q, k, v, out, lse, d_out = 0, d_q = 0, d_k = 0, d_v = 0;

  auto key() const {
    return std::vector<std::int64_t>{backward,
                                     static_cast<std::int64_t>(dtype),
                                     shape.heads,
                                     shape.kv_heads,
                                     shape.head_dim,
                                     std::bit_cast<std::int32_t>(shape.scale),
                                     documents.count,
                                     documents.length,
                                     q,
                                     k,
                                     v,
                                     out,
                                     d_out,
                                     d_q,
                                     d_k,
                                     d_v,
                                     lse};
  }
};

enum Uid : std::int64_t { kQ = 1, kK, kV, kOut, kLse, kDOut, kDQ, kDK, kDV };

class Builder {
 public:
  explicit Builder(const Problem& problem) : problem_(problem), graph_(std::make_shared<graph::Graph>()) {
    const auto type = problem.dtype == DType::kF16 ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16;
    graph_->set_io_data_type(type)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  std::shared_ptr<graph::Graph> forward() {
    const auto options = graph::SDPA_attributes()
                             .set_name("forward")
                             .set_generate_stats(problem_.lse != 0)
                             .set_attn_scale(problem_.shape.scale)
                             .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                             .set_diagonal_band_right_bound(0);
    auto [out, lse] = graph_->sdpa(queries(kQ, problem_.q), keys(kK, problem_.k), keys(kV, problem_.v), options);
    describe(out, kOut, problem_.shape.heads, problem_.out);
    if (lse == nullptr) return graph_;
    lse->set_output(true)
        .set_uid(kLse)
        .set_data_type(fe::DataType_t::FLOAT)
        .set_dim(lse_dim())
        .set_stride(lse_stride());
    return graph_;
  }

  std::shared_ptr<graph::Graph> backward() {
    const auto options = graph::SDPA_backward_attributes()
                             .set_name("backward")
                             .set_attn_scale(problem_.shape.scale)
                             .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                             .set_diagonal_band_right_bound(0);
    auto lse = graph_->tensor(graph::Tensor_attributes()
                                  .set_uid(kLse)
                                  .set_data_type(fe::DataType_t::FLOAT)
                                  .set_dim(lse_dim())
                                  .set_stride(lse_stride()));
    auto [d_q, d_k, d_v] =
        graph_->sdpa_backward(queries(kQ, problem_.q), keys(kK, problem_.k), keys(kV, problem_.v),
                              queries(kOut, problem_.out), queries(kDOut, problem_.d_out), lse, options);
    describe(d_q, kDQ, problem_.shape.heads, problem_.d_q);
    describe(d_k, kDK, problem_.shape.kv_heads, problem_.d_k);
    describe(d_v, kDV, problem_.shape.kv_heads, problem_.d_v);
    return graph_;
  }

 private:
  using TensorPointer = std::shared_ptr<graph::Tensor_attributes>;

  // (documents, heads, tokens, head_dim) in matrices (T, heads · head_dim)
  std::vector<std::int64_t> dim(int heads) const {
    return {problem_.documents.count, heads, problem_.documents.length, problem_.shape.head_dim};
  }
  std::vector<std::int64_t> stride(std::int64_t row) const {
    return {problem_.documents.length * row, problem_.shape.head_dim, row, 1};
  }
  // (documents, heads, tokens, 1): forward writes it into a matrix (heads, T), backward wants it packed
  std::vector<std::int64_t> lse_dim() const {
    return {problem_.documents.count, problem_.shape.heads, problem_.documents.length, 1};
  }
  std::vector<std::int64_t> lse_stride() const {
    if (problem_.backward) return {problem_.shape.heads * problem_.documents.length, problem_.documents.length, 1, 1};
    return {problem_.documents.length, problem_.lse, 1, 1};
  }

  TensorPointer input(Uid uid, int heads, std::int64_t row) {
    return graph_->tensor(graph::Tensor_attributes().set_uid(uid).set_dim(dim(heads)).set_stride(stride(row)));
  }
  TensorPointer queries(Uid uid, std::int64_t row) { return input(uid, problem_.shape.heads, row); }
  TensorPointer keys(Uid uid, std::int64_t row) { return input(uid, problem_.shape.kv_heads, row); }
  void describe(const TensorPointer& output, Uid uid, int heads, std::int64_t row) {
    output->set_output(true).set_uid(uid).set_dim(dim(heads)).set_stride(stride(row));
  }

  const Problem& problem_;
  std::shared_ptr<graph::Graph> graph_;
};

struct Plan {
  std::shared_ptr<graph::Graph> graph;
  std::size_t workspace;
};

/// cuDNN on one device, with its plans.
class Library {
 public:
  explicit Library(int device) {
    GPU_CHECK(gpuSetDevice(device));
    check(fe::detail::create_handle(&handle_), "cudnnCreate");
  }
  ~Library() { fe::detail::destroy_handle(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  /// nullptr if cuDNN has none.
  const Plan* plan_for(const Problem& problem) {
    auto [at, is_new] = plans_.try_emplace(problem.key());
    if (is_new) at->second = make_plan(problem);
    return at->second ? &*at->second : nullptr;
  }

  void run(const Plan& plan, gpuStream_t stream, std::unordered_map<std::int64_t, void*> tensors, void* workspace) {
    check(fe::detail::set_stream(handle_, stream), "cudnnSetStream");
    auto status = plan.graph->execute(handle_, tensors, workspace);
    if (status.is_bad())
      throw Error(fmt::format("cuDNN's attention failed: {}", status.get_message()), ExitCode::kRunFailed);
  }

 private:
  static void check(cudnnStatus_t status, const char* what) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    throw Error(fmt::format("{} failed: {}", what, fe::detail::get_error_string(status)), ExitCode::kHostLacks);
  }

  std::optional<Plan> make_plan(const Problem& problem) {
    Builder builder(problem);
    const auto made = problem.backward ? builder.backward() : builder.forward();
    if (auto status = made->build(handle_, {fe::HeurMode_t::A}); status.is_bad()) {
      log::info("cuDNN has no attention for {} heads of {}, {} documents of {} tokens: {}", problem.shape.heads,
                problem.shape.head_dim, problem.documents.count, problem.documents.length, status.get_message());
      return std::nullopt;
    }
    return Plan{made, static_cast<std::size_t>(made->get_workspace_size())};
  }

  cudnnHandle_t handle_ = nullptr;
  std::map<std::vector<std::int64_t>, std::optional<Plan>> plans_;
};

/// Opens libcudnn once; false if it is not there.
bool is_loaded() {
  static const bool loaded = [] {
    fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (fe::cudnn_dlhandle == nullptr) {
      log::info("attention runs on Primus' own kernels: {}", dlerror());
      return false;
    }
    log::info(
        "attention runs on cuDNN {} where documents have one length and that is faster, else on Primus' own kernels",
        fe::detail::get_backend_version_string());
    return true;
  }();
  return loaded;
}

struct Libraries {
  std::mutex mutex;
  std::map<int, std::unique_ptr<Library>> of_device;
};

/// body(library) with cuDNN on the device, one caller at a time; `otherwise` where there is no cuDNN.
template <typename Result, typename Body>
Result with_library(Device device, Result otherwise, const Body& body) {
  static Libraries libraries;
  const std::lock_guard lock(libraries.mutex);
  if (!is_loaded()) return otherwise;
  auto& library = libraries.of_device[device.index];
  if (library == nullptr) library = std::make_unique<Library>(device.index);
  return body(*library);
}

std::size_t aligned_lse_bytes(const AttentionShape& shape, std::int64_t tokens) {
  constexpr std::size_t kAlignment = 256;
  const std::size_t bytes = static_cast<std::size_t>(shape.heads) * static_cast<std::size_t>(tokens) * sizeof(float);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// The statistics as (documents, heads, tokens) out of (heads, T): what one document has already, and those of several
/// copied to `packed`.
void* packed_lse(const Stream& stream, const AttentionBackward& args, EqualDocuments documents, void* packed) {
  if (documents.count == 1 && args.lse.row_stride() == documents.length) return args.lse.data();
  const std::size_t row = static_cast<std::size_t>(documents.length) * sizeof(float);
  const std::size_t heads = static_cast<std::size_t>(args.shape.heads);
  for (std::int64_t d = 0; d < documents.count; ++d) {
    GPU_CHECK(cudaMemcpy2DAsync(static_cast<unsigned char*>(packed) + static_cast<std::size_t>(d) * heads * row, row,
                                args.lse.as<float>() + d * documents.length,
                                static_cast<std::size_t>(args.lse.row_stride()) * sizeof(float), row, heads,
                                cudaMemcpyDeviceToDevice, stream_of(stream)));
  }
  return packed;
}

template <typename Args>
Problem problem_of(const Args& args, EqualDocuments documents) {
  return {.backward = std::is_same_v<Args, AttentionBackward>,
          .dtype = args.q.dtype(),
          .shape = args.shape,
          .documents = documents,
          .q = args.q.row_stride(),
          .k = args.k.row_stride(),
          .v = args.v.row_stride(),
          .out = args.out.row_stride(),
          .lse = args.lse.row_stride()};
}

}  // namespace

bool cudnn_attention_forward(Stream& stream, const AttentionForward& args, EqualDocuments documents) {
  const Problem problem = problem_of(args, documents);
  return with_library(stream.device(), false, [&](Library& library) {
    const Plan* plan = library.plan_for(problem);
    const Workspace workspace = workspace_of(stream);
    if (plan == nullptr || plan->workspace > workspace.bytes) return false;
    library.run(*plan, stream_of(stream),
                {{kQ, args.q.data()},
                 {kK, args.k.data()},
                 {kV, args.v.data()},
                 {kOut, args.out.data()},
                 {kLse, args.lse.data()}},
                workspace.data);
    return true;
  });
}

bool cudnn_attention_backward(Stream& stream, const AttentionBackward& args, EqualDocuments documents) {
  Problem problem = problem_of(args, documents);
  problem.d_out = args.d_out.row_stride();
  problem.d_q = args.d_q.row_stride();
  problem.d_k = args.d_k.row_stride();
  problem.d_v = args.d_v.row_stride();
  return with_library(stream.device(), false, [&](Library& library) {
    const Plan* plan = library.plan_for(problem);
    if (plan == nullptr) return false;
    const std::size_t lse_bytes = aligned_lse_bytes(args.shape, args.q.rows());
    if (plan->workspace + lse_bytes > args.workspace.bytes()) {
      log::info("cuDNN's attention backward over {} documents of {} tokens wants {} bytes of workspace, there are {}",
                documents.count, documents.length, plan->workspace + lse_bytes, args.workspace.bytes());
      return false;
    }
    auto* const workspace = static_cast<unsigned char*>(args.workspace.data());
    library.run(*plan, stream_of(stream),
                {{kQ, args.q.data()},
                 {kK, args.k.data()},
                 {kV, args.v.data()},
                 {kOut, args.out.data()},
                 {kDOut, args.d_out.data()},
                 {kLse, packed_lse(stream, args, documents, workspace)},
                 {kDQ, args.d_q.data()},
                 {kDK, args.d_k.data()},
                 {kDV, args.d_v.data()}},
                workspace + lse_bytes);
    return true;
  });
}

std::size_t cudnn_attention_backward_workspace(const AttentionShape& shape, std::int64_t tokens) {
  constexpr std::size_t kRows = 128;  // what its tiles round up to
  constexpr std::size_t kMore = std::size_t{1} << 20;
  const std::size_t rows = (static_cast<std::size_t>(tokens) + kRows - 1) / kRows * kRows;
  const std::size_t row_bytes = (2 * static_cast<std::size_t>(shape.head_dim) + 2) * sizeof(float);
  return rows * static_cast<std::size_t>(shape.heads) * row_bytes + kMore + aligned_lse_bytes(shape, tokens);
}

}  // namespace primus::ops::gpu
