#include "train/benchmark_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/random.h"
#include "model/layer.h"
#include "model/weights.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "tensor/backend.h"
#include "tensor/stream.h"
#include "train/flops.h"
#include "train/setup.h"

namespace primus::train {
namespace {

/// Times calls on one stream.
class Clock {
 public:
  Clock(Device device, double seconds) : device_(device), stream_(device), seconds_(seconds) {}

  Stream& stream() { return stream_; }

  /// Median seconds of a call among samples of calls behind one another.
  double seconds_of(const std::function<void()>& call) {
    constexpr int kSamples = 5;
    sample(call, 1);  // chooses algorithms, loads code
    const double one = sample(call, 1);
    const int calls = static_cast<int>(std::clamp(seconds_ / kSamples / one, 1.0, 10000.0));
    std::array<double, kSamples> samples{};
    for (double& seconds : samples) seconds = sample(call, calls);
    std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
    return samples[kSamples / 2];
  }

 private:
  double sample(const std::function<void()>& call, int calls) {
    Event begin(device_), end(device_);
    begin.record(stream_);
    for (int i = 0; i < calls; ++i) call();
    end.record(stream_);
    return begin.seconds_until(end) / calls;
  }

  Device device_;
  Stream stream_;
  double seconds_;
};

/// Normal numbers: products of zeros run faster than any training does.
class RandomNumbers {
 public:
  static constexpr std::int64_t kCount = (1 << 20) + 24;
  static constexpr std::size_t kBytes = (kCount * sizeof(float) + 255) / 256 * 256;

  RandomNumbers(Stream& stream, Arena& arena)
      : stream_(stream), numbers_(arena.vector(MemoryKind::kWorkspace, "numbers", DType::kF32, kCount)) {
    std::vector<float> values(kCount);
    const Philox random{.seed = 1};
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
    stream.copy_to_device(numbers_, values.data());
  }

  void fill(const Tensor& target, float scale = 1.0F) const {
    const Tensor flat = target.as_vector();
    for (std::int64_t first = 0; first < flat.numel(); first += kCount) {
      const std::int64_t count = std::min(kCount, flat.numel() - first);
      ops::convert(stream_, {.in = numbers_.slice(0, count), .out = flat.slice(first, first + count), .scale = scale});
    }
  }

 private:
  Stream& stream_;
  Tensor numbers_;
};

/// One layer, whose LM head and embedding are measured apart.
model::ModelConfig one_layer(model::ModelConfig model) {
  model.num_hidden_layers = 1;
  model.vocab_size = 64;
  return model;
}

/// What the products of one layer work on. As DeviceMemory, it is built over a measuring arena first.
struct ProductMemory {
  ProductMemory(const model::ModelConfig& layer, const model::ModelConfig& model, const model::DecoderOptions& options,
                Arena& arena)
      : weights(layer, options, arena) {
    const DType dtype = options.compute_dtype;
    const std::int64_t tokens = options.max_tokens;
    const model::LayerWeights& first = weights.layers.front();
    linears = {{"qkv", &first.qkv}, {"o", &first.o_proj}, {"gate_up", &first.gate_up}, {"down", &first.down}};
    std::int64_t widest_in = 0, widest_out = 0;
    for (const auto& [name, linear] : linears) {
      widest_in = std::max(widest_in, linear->extended());
      widest_out = std::max(widest_out, linear->out);
    }
    const auto take = [&](const char* name, DType type, std::int64_t rows, std::int64_t columns) {
      return arena.matrix(MemoryKind::kActivations, name, type, rows, columns);
    };
    x = take("x", dtype, tokens, widest_in);
    y = take("y", dtype, tokens, widest_out);
    const std::int64_t row_bytes = model.vocab_size * static_cast<std::int64_t>(sizeof(float));
    head_rows = std::min(tokens, std::max<std::int64_t>(64, options.logits_bytes / row_bytes / 64 * 64));
    head = take("head", dtype, model.vocab_size, model.hidden_size);
    logits = take("logits", DType::kF32, head_rows, model.vocab_size);
    d_logits = dtype == DType::kF32 ? logits : take("d_logits", dtype, head_rows, model.vocab_size);
    if (options.train_base) d_head = take("d_head", options.gradient_dtype, model.vocab_size, model.hidden_size);
    workspace = arena.vector(MemoryKind::kWorkspace, "workspace", DType::kU8,
                             static_cast<std::int64_t>(workspace_bytes(arena.device())));
  }

  struct Named {
    const char* name;
    const model::Linear* linear;
  };

  model::Weights weights;
  std::vector<Named> linears;
  Tensor x;  // (tokens, widest input), or its gradient
  Tensor y;  // (tokens, widest output), or its gradient
  std::int64_t head_rows = 0;
  Tensor head, logits, d_logits, d_head;
  Tensor workspace;
};

/// A contiguous matrix in the first memory of a wider one.
Tensor reshaped(const Tensor& buffer, std::int64_t rows, std::int64_t columns) {
  return buffer.as_vector().slice(0, rows * columns).as_matrix(rows, columns);
}

double bytes_of(std::initializer_list<Tensor> tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), 0.0,
                         [](double sum, const Tensor& tensor) { return sum + static_cast<double>(tensor.bytes()); });
}

class Products {
 public:
  Products(Clock& clock, std::int64_t tokens) : clock_(clock), tokens_(tokens) {}

  void layer_of(const ProductMemory& memory) {
    for (const auto& [name, linear] : memory.linears) {
      name_ = name;
      const Tensor x = reshaped(memory.x, tokens_, linear->extended());
      const Tensor y = reshaped(memory.y, tokens_, linear->out);
      forward("forward", {.x = x, .weight = linear->weight, .y = y});
      input("input gradient", {.dy = y, .weight = linear->weight, .dx = x});
      if (linear->d_weight)
        weight("weight gradient", {.dy = y, .x = x, .d_weight = linear->d_weight, .accumulate = false});
      if (linear->rank > 0) adapters(*linear, x, y);
    }
  }

  void head_of(const ProductMemory& memory) {
    name_ = "lm_head";
    const Tensor x = reshaped(memory.x, memory.head_rows, memory.head.columns());
    forward("forward", {.x = x, .weight = memory.head, .y = memory.logits});
    input("input gradient", {.dy = memory.d_logits, .weight = memory.head, .dx = x});
    if (memory.d_head) weight("weight gradient", {.dy = memory.d_logits, .x = x, .d_weight = memory.d_head});
  }

  std::vector<OperationTime> take() { return std::move(times_); }

 private:
  /// The narrow products, as Linear::adapt and Linear::backward have them.
  void adapters(const model::Linear& linear, const Tensor& input_and_u, const Tensor& y) {
    const Tensor x = input_and_u.columns(0, linear.in);
    const Tensor u = input_and_u.columns(linear.in, linear.in + linear.rank);
    forward("u = x·Aᵀ", {.x = x, .weight = linear.a, .y = u});
    for (const model::Linear::Adapter& adapter : linear.adapters) {
      weight("dB = dyᵀ·u", {.dy = y.columns(adapter.row_begin, adapter.row_end),
                            .x = u.columns(adapter.column_begin, adapter.column_end),
                            .d_weight = adapter.d_b,
                            .scale = linear.lora_scale,
                            .accumulate = false});
    }
    weight("dA = duᵀ·x", {.dy = u, .x = x, .d_weight = linear.d_a, .accumulate = false});
    input("dx += du·A", {.dy = u, .weight = linear.a, .dx = x, .accumulate = true});
  }

  void forward(const char* pass, const ops::LinearForward& args) {
    add(pass, args.x.rows(), args.y.columns(), args.x.columns(), bytes_of({args.x, args.weight, args.y}),
        [&] { ops::linear_forward(clock_.stream(), args); });
  }
  void input(const char* pass, const ops::LinearBackwardInput& args) {
    const double read = args.accumulate ? bytes_of({args.dx}) : 0.0;
    add(pass, args.dy.rows(), args.dx.columns(), args.dy.columns(), bytes_of({args.dy, args.weight, args.dx}) + read,
        [&] { ops::linear_backward_input(clock_.stream(), args); });
  }
  void weight(const char* pass, const ops::LinearBackwardWeight& args) {
    const double read = args.accumulate ? bytes_of({args.d_weight}) : 0.0;
    add(pass, args.x.rows(), args.dy.columns(), args.x.columns(), bytes_of({args.dy, args.x, args.d_weight}) + read,
        [&] { ops::linear_backward_weight(clock_.stream(), args); });
  }
  void add(const char* pass, std::int64_t m, std::int64_t n, std::int64_t k, double bytes,
           const std::function<void()>& call) {
    times_.push_back({.name = name_,
                      .pass = pass,
                      .shape = fmt::format("{} x {} x {}", m, n, k),
                      .seconds = clock_.seconds_of(call),
                      .flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
                      .bytes = bytes});
  }

  Clock& clock_;
  std::int64_t tokens_;
  std::string name_;
  std::vector<OperationTime> times_;
};

/// q, k, v are columns of the fused projection, as in a layer without QK norm.
struct AttentionMemory {
  AttentionMemory(const model::ModelConfig& model, const model::DecoderOptions& options, std::int64_t documents,
                  Arena& arena)
      : shape(model::attention_shape(model)) {
    shape.deterministic = options.deterministic;
    const DType dtype = options.compute_dtype;
    const std::int64_t tokens = options.max_tokens, width = model.q_size() + 2 * model.kv_size();
    const auto take = [&](const char* name, std::int64_t columns) {
      return arena.matrix(MemoryKind::kActivations, name, dtype, tokens, columns);
    };
    qkv = take("qkv", width);
    d_qkv = take("d_qkv", width);
    out = take("out", model.q_size());
    d_out = take("d_out", model.q_size());
    lse = arena.matrix(MemoryKind::kActivations, "lse", DType::kF32, shape.heads, tokens);
    cu_seqlens = arena.vector(MemoryKind::kActivations, "cu_seqlens", DType::kI32, documents + 1);
    backward = arena.vector(
        MemoryKind::kWorkspace, "backward", DType::kU8,
        static_cast<std::int64_t>(ops::attention_backward_workspace(arena.device(), dtype, shape, tokens)));
    workspace = arena.vector(MemoryKind::kWorkspace, "workspace", DType::kU8,
                             static_cast<std::int64_t>(workspace_bytes(arena.device())));
  }

  ops::AttentionShape shape;
  Tensor qkv, d_qkv, out, d_out, lse, cu_seqlens, backward, workspace;
};

struct Heads {
  Tensor q, k, v;
};
Heads heads_of(const model::ModelConfig& model, const Tensor& qkv) {
  const std::int64_t q = model.q_size(), kv = model.kv_size();
  return {qkv.columns(0, q), qkv.columns(q, q + kv), qkv.columns(q + kv, q + 2 * kv)};
}

void lend(Stream& stream, const Tensor& workspace) {
  if (workspace.bytes() > 0) stream.lend_workspace(workspace);
}

/// Memory of what `make` builds, measured first, and room for random numbers.
template <typename Make>
Arena arena_for(Device device, const Make& make) {
  Arena measuring = Arena::measuring(device);
  make(measuring);
  return Arena::allocate(device, measuring.peak() + RandomNumbers::kBytes);
}

}  // namespace

std::vector<OperationTime> benchmark_products(const config::RunConfig& config, const model::ModelConfig& model,
                                              Device device, double seconds) {
  const model::ModelConfig layer = one_layer(model);
  const model::DecoderOptions options = training_options(config, layer, device);
  const auto make = [&](Arena& arena) { return ProductMemory(layer, model, options, arena); };
  Arena arena = arena_for(device, make);
  Clock clock(device, seconds);
  ProductMemory memory = make(arena);
  lend(clock.stream(), memory.workspace);
  const RandomNumbers numbers(clock.stream(), arena);
  memory.weights.clear(clock.stream());
  constexpr float kWeightScale = 0.02F;
  for (const auto& [name, linear] : memory.linears) {
    numbers.fill(linear->weight, kWeightScale);
    if (linear->a) numbers.fill(linear->a, kWeightScale);
  }
  for (const Tensor& activations : {memory.x, memory.y, memory.d_logits}) numbers.fill(activations);
  numbers.fill(memory.head, kWeightScale);

  Products products(clock, options.max_tokens);
  products.layer_of(memory);
  products.head_of(memory);
  return products.take();
}

std::vector<OperationTime> benchmark_attention(const config::RunConfig& config, const model::ModelConfig& model,
                                               Device device, double seconds) {
  const model::ModelConfig layer = one_layer(model);
  const model::DecoderOptions options = training_options(config, layer, device);
  const std::int64_t documents = config.micro_batch_size, length = config.seq_length, tokens = documents * length;
  const auto make = [&](Arena& arena) { return AttentionMemory(layer, options, documents, arena); };
  Arena arena = arena_for(device, make);
  Clock clock(device, seconds);
  const AttentionMemory memory = make(arena);
  lend(clock.stream(), memory.workspace);
  const RandomNumbers numbers(clock.stream(), arena);
  for (const Tensor& tensor : {memory.qkv, memory.d_out}) numbers.fill(tensor);
  std::vector<std::int32_t> starts(static_cast<std::size_t>(documents) + 1);
  for (std::size_t i = 0; i < starts.size(); ++i)
    starts[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) * length);
  clock.stream().copy_to_device(memory.cu_seqlens, starts.data());

  const auto [q, k, v] = heads_of(layer, memory.qkv.slice(0, tokens));
  const auto [d_q, d_k, d_v] = heads_of(layer, memory.d_qkv.slice(0, tokens));
  const Tensor out = memory.out.slice(0, tokens);
  const Tensor lse = memory.lse.as_vector().slice(0, memory.lse.rows() * tokens).as_matrix(memory.lse.rows(), tokens);
  const ops::AttentionForward forward{.shape = memory.shape,
                                      .q = q,
                                      .k = k,
                                      .v = v,
                                      .cu_seqlens = memory.cu_seqlens,
                                      .max_seqlen = length,
                                      .out = out,
                                      .lse = lse};
  const ops::AttentionBackward backward{.shape = memory.shape,
                                        .d_out = memory.d_out.slice(0, tokens),
                                        .q = q,
                                        .k = k,
                                        .v = v,
                                        .out = out,
                                        .lse = lse,
                                        .cu_seqlens = memory.cu_seqlens,
                                        .max_seqlen = length,
                                        .d_q = d_q,
                                        .d_k = d_k,
                                        .d_v = d_v,
                                        .workspace = memory.backward};
  const Work work{.tokens = tokens, .squared_lengths = static_cast<double>(documents * length * length)};
  const std::string shape = fmt::format("{} x {}, {}/{} heads of {}", documents, length, memory.shape.heads,
                                        memory.shape.kv_heads, memory.shape.head_dim);
  return {{.name = "attention",
           .pass = "forward",
           .shape = shape,
           .seconds = clock.seconds_of([&] { ops::attention_forward(clock.stream(), forward); }),
           .flops = attention_forward_flops(layer, work),
           .bytes = bytes_of({q, k, v, out, lse})},
          {.name = "attention",
           .pass = "backward",
           .shape = shape,
           .seconds = clock.seconds_of([&] { ops::attention_backward(clock.stream(), backward); }),
           .flops = attention_backward_flops(layer, work),
           .bytes = 2.0 * bytes_of({q, k, v, out}) + bytes_of({lse})}};
}

}  // namespace primus::train
