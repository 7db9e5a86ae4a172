#include "model/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/random.h"
#include "ops/elementwise.h"

namespace primus::model {
namespace {

constexpr std::int64_t kFlatAlignment = 128;  // elements: 256 bytes of bf16
constexpr std::int64_t kRankAlignment = 8;    // columns: 16 bytes of bf16, what GEMMs like
constexpr std::int64_t kUnmeasured = std::numeric_limits<std::int64_t>::max() / 64;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// One module of a fused projection.
struct Part {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  std::int64_t rows;
};

/// Where trainable parameters go: SFT has matrices and vectors, LoRA has A and B.
enum SegmentIndex { kFirst = 0, kSecond = 1 };

/// Builds all weights into flat buffers whose segments begin at `starts`. Run twice: first over unmeasured buffers to
/// learn the segments' sizes, then over the real ones.
class Builder {
 public:
  Builder(const ModelConfig& config, const DecoderOptions& options, Arena& arena, Weights& weights,
          std::array<std::int64_t, 2> starts)
      : config_(config), options_(options), arena_(arena), weights_(weights), next_(starts) {}

  std::array<std::int64_t, 2> build() {
    auto [embedding, d_embedding] =
        matrix("model.embed_tokens.weight", config_.vocab_size, config_.hidden_size, ShardRule::kRows);
    weights_.embedding = embedding;
    weights_.d_embedding = d_embedding;
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) build_layer(layer);
    std::tie(weights_.final_norm, weights_.d_final_norm) = vector("model.norm.weight", config_.hidden_size);
    if (config_.tie_word_embeddings) {
      weights_.head = weights_.embedding;
      weights_.d_head = weights_.d_embedding;
    } else {
      std::tie(weights_.head, weights_.d_head) =
          matrix("lm_head.weight", config_.vocab_size, config_.hidden_size, ShardRule::kRows);
    }
    return next_;
  }

 private:
  void build_layer(std::int64_t index) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    const std::int64_t hidden = config_.hidden_size;
    LayerWeights layer;
    std::tie(layer.input_norm, layer.d_input_norm) = vector(prefix + "input_layernorm.weight", hidden);
    layer.qkv = linear(prefix + "self_attn.qkv",
                       {{prefix + "self_attn.q_proj", config_.q_size()},
                        {prefix + "self_attn.k_proj", config_.kv_size()},
                        {prefix + "self_attn.v_proj", config_.kv_size()}},
                       hidden, ShardRule::kRows, config_.qkv_bias);
    if (config_.qk_norm) {
      std::tie(layer.q_norm, layer.d_q_norm) = vector(prefix + "self_attn.q_norm.weight", config_.head_dim);
      std::tie(layer.k_norm, layer.d_k_norm) = vector(prefix + "self_attn.k_norm.weight", config_.head_dim);
    }
    layer.o_proj = linear(prefix + "self_attn.o_proj", {{prefix + "self_attn.o_proj", hidden}}, config_.q_size(),
                          ShardRule::kColumns, config_.attention_output_bias);
    std::tie(layer.post_norm, layer.d_post_norm) = vector(prefix + "post_attention_layernorm.weight", hidden);
    layer.gate_up = linear(
        prefix + "mlp.gate_up",
        {{prefix + "mlp.gate_proj", config_.intermediate_size}, {prefix + "mlp.up_proj", config_.intermediate_size}},
        hidden, ShardRule::kRows, config_.mlp_bias);
    layer.down = linear(prefix + "mlp.down_proj", {{prefix + "mlp.down_proj", hidden}}, config_.intermediate_size,
                        ShardRule::kColumns, config_.mlp_bias);
    weights_.layers.push_back(std::move(layer));
  }

  bool trains_base() const { return options_.train_base; }

  std::int64_t take_flat(SegmentIndex segment, std::int64_t elements) {
    const std::int64_t offset = next_[segment];
    next_[segment] += round_up(elements, kFlatAlignment);
    return offset;
  }

  static Tensor flat_view(const Tensor& flat, std::int64_t offset, std::int64_t elements) {
    return flat ? flat.slice(offset, offset + elements) : Tensor();
  }

  /// What computing reads of the flat buffers.
  const Tensor& flat_compute() const { return weights_.flat.weights ? weights_.flat.weights : weights_.flat.master; }

  void bind_flat(Parameter& parameter, std::int64_t offset) const {
    const auto view = [&](const Tensor& flat) {
      const Tensor elements = flat_view(flat, offset, parameter.numel());
      if (!elements || parameter.rank == 1) return elements;
      return elements.as_matrix(parameter.rows, parameter.columns);
    };
    parameter.trainable = true;
    parameter.flat_offset = offset;
    parameter.master = view(weights_.flat.master);
    parameter.gradient = view(weights_.flat.gradients);
    parameter.exp_avg = view(weights_.flat.exp_avg);
    parameter.exp_avg_sq = view(weights_.flat.exp_avg_sq);
  }

  std::pair<Tensor, Tensor> vector(const std::string& name, std::int64_t size,
                                   ShardRule shard = ShardRule::kReplicated) {
    auto fused = vectors(name, {{name, size}}, shard);
    return fused;
  }

  /// 1-D parameters side by side: (all sizes), with its gradient.
  std::pair<Tensor, Tensor> vectors(const std::string& buffer, const std::vector<Part>& parts, ShardRule shard) {
    std::int64_t size = 0;
    for (const Part& part : parts) size += part.rows;
    Tensor weight;
    Tensor gradient;
    std::int64_t offset = -1;
    if (trains_base()) {
      offset = take_flat(kSecond, size);
      weight = flat_view(flat_compute(), offset, size);
      gradient = flat_view(weights_.flat.gradients, offset, size);
    } else {
      weight = arena_.vector(MemoryKind::kWeights, buffer, options_.compute_dtype, size);
    }
    std::int64_t begin = 0;
    for (const Part& part : parts) {
      Parameter parameter{.name = part.module, .rank = 1, .rows = 1, .columns = part.rows, .shard = shard};
      parameter.weight = weight.slice(begin, begin + part.rows);
      if (trains_base()) bind_flat(parameter, offset + begin);
      weights_.registry.add(std::move(parameter));
      begin += part.rows;
    }
    return {weight, gradient};
  }

  std::pair<Tensor, Tensor> matrix(const std::string& name, std::int64_t rows, std::int64_t columns, ShardRule shard) {
    return fused_matrix(name, {{name, rows}}, columns, 0, shard, "");
  }

  /// 2-D parameters one below the other: (all rows, columns + extra columns for adapters), with its gradient.
  std::pair<Tensor, Tensor> fused_matrix(const std::string& buffer, const std::vector<Part>& parts,
                                         std::int64_t columns, std::int64_t extra, ShardRule shard,
                                         const std::string& suffix) {
    std::int64_t rows = 0;
    for (const Part& part : parts) rows += part.rows;
    Tensor weight;
    Tensor gradient;
    std::int64_t offset = -1;
    if (trains_base()) {
      PRIMUS_CHECK(extra == 0, buffer, extra);
      offset = take_flat(kFirst, rows * columns);
      weight = flat_view(flat_compute(), offset, rows * columns).as_matrix(rows, columns);
      if (weights_.flat.gradients) {
        gradient = flat_view(weights_.flat.gradients, offset, rows * columns).as_matrix(rows, columns);
      }
    } else {
      weight = arena_.matrix(MemoryKind::kWeights, buffer, options_.compute_dtype, rows, columns + extra);
      if (extra > 0) weights_.cleared.push_back(weight);
    }
    std::int64_t begin = 0;
    for (const Part& part : parts) {
      Parameter parameter{
          .name = part.module + suffix, .rank = 2, .rows = part.rows, .columns = columns, .shard = shard};
      parameter.weight = weight.slice(begin, begin + part.rows).columns(0, columns);
      if (trains_base()) bind_flat(parameter, offset + begin * columns);
      weights_.registry.add(std::move(parameter));
      begin += part.rows;
    }
    return {weight, gradient};
  }

  bool is_adapted(const std::string& module) const {
    if (!options_.lora) return false;
    const std::string name = module.substr(module.rfind('.') + 1);
    const auto& targets = options_.lora->target_modules;
    return std::find(targets.begin(), targets.end(), name) != targets.end();
  }

  Linear linear(const std::string& buffer, const std::vector<Part>& parts, std::int64_t in, ShardRule shard,
                bool bias) {
    Linear linear;
    linear.in = in;
    linear.id = projections_++;
    std::int64_t ranks = 0;
    for (const Part& part : parts) {
      const std::int64_t row_begin = linear.out;
      linear.out += part.rows;
      if (!is_adapted(part.module)) continue;
      linear.adapters.push_back({row_begin, linear.out, ranks, ranks + options_.lora->rank, {}});
      ranks += options_.lora->rank;
    }
    linear.rank = round_up(ranks, kRankAlignment);
    std::tie(linear.weight, linear.d_weight) = fused_matrix(buffer, parts, in, linear.rank, shard, ".weight");
    if (bias) {
      std::vector<Part> biases = parts;
      for (Part& part : biases) part.module += ".bias";
      std::tie(linear.bias, linear.d_bias) =
          vectors(buffer + ".bias", biases, shard == ShardRule::kRows ? ShardRule::kRows : ShardRule::kReplicated);
    }
    if (linear.rank > 0) add_adapters(linear, parts, shard);
    return linear;
  }

  void add_adapters(Linear& linear, const std::vector<Part>& parts, ShardRule shard) {
    const LoraOptions& lora = *options_.lora;
    linear.lora_scale = static_cast<float>(lora.scale());
    linear.dropout = options_.train ? static_cast<float>(lora.dropout) : 0.0F;
    const std::int64_t a_offset = take_flat(kFirst, linear.rank * linear.in);
    const auto flat_a = [&](const Tensor& flat) {
      return flat ? flat_view(flat, a_offset, linear.rank * linear.in).as_matrix(linear.rank, linear.in) : Tensor();
    };
    linear.a = flat_a(flat_compute());
    linear.d_a = flat_a(weights_.flat.gradients);

    std::size_t index = 0;
    std::int64_t row_begin = 0;
    for (const Part& part : parts) {
      const std::int64_t row_end = row_begin + part.rows;
      if (is_adapted(part.module)) {
        Linear::Adapter& adapter = linear.adapters[index++];
        Parameter a{.name = part.module + ".lora_A.weight",
                    .rank = 2,
                    .rows = lora.rank,
                    .columns = linear.in,
                    .shard = shard == ShardRule::kColumns ? ShardRule::kColumns : ShardRule::kReplicated};
        a.weight = linear.a.slice(adapter.column_begin, adapter.column_end);
        bind_flat(a, a_offset + adapter.column_begin * linear.in);
        weights_.registry.add(std::move(a));

        Parameter b{.name = part.module + ".lora_B.weight",
                    .rank = 2,
                    .rows = part.rows,
                    .columns = lora.rank,
                    .shard = shard == ShardRule::kRows ? ShardRule::kRows : ShardRule::kReplicated};
        bind_flat(b, take_flat(kSecond, part.rows * lora.rank));
        b.published = linear.weight.slice(row_begin, row_end)
                          .columns(linear.in + adapter.column_begin, linear.in + adapter.column_end);
        b.publish_scale = linear.lora_scale;
        adapter.d_b = b.gradient;
        weights_.registry.add(std::move(b));
      }
      row_begin = row_end;
    }
  }

  const ModelConfig& config_;
  const DecoderOptions& options_;
  Arena& arena_;
  Weights& weights_;
  std::array<std::int64_t, 2> next_;
  std::uint64_t projections_ = 0;
};

/// Flat buffers of any size, whose tensors are never touched.
FlatBuffers unmeasured(const DecoderOptions& options, Device device) {
  FlatBuffers flat;
  flat.master = Tensor(nullptr, options.master_dtype, device, kUnmeasured);
  if (options.compute_dtype != options.master_dtype) {
    flat.weights = Tensor(nullptr, options.compute_dtype, device, kUnmeasured);
  }
  return flat;
}

FlatBuffers allocate_flat(const DecoderOptions& options, Arena& arena, std::int64_t first, std::int64_t second) {
  FlatBuffers flat;
  flat.size = first + second;
  if (flat.size == 0) return flat;
  const bool base = !options.lora.has_value();
  flat.segments = {{0, first, true, true}, {first, flat.size, !base, base}};
  if (options.compute_dtype != options.master_dtype) {
    flat.weights =
        arena.vector(MemoryKind::kWeights, "trainable weights", options.compute_dtype, base ? flat.size : first);
  }
  flat.master = arena.vector(flat.weights ? MemoryKind::kOptimizer : MemoryKind::kWeights, "master weights",
                             options.master_dtype, flat.size);
  if (!options.train) return flat;
  flat.gradients = arena.vector(MemoryKind::kGradients, "gradients", options.gradient_dtype, flat.size);
  flat.exp_avg = arena.vector(MemoryKind::kOptimizer, "exp_avg", options.exp_avg_dtype, flat.size);
  flat.exp_avg_sq = arena.vector(MemoryKind::kOptimizer, "exp_avg_sq", options.exp_avg_sq_dtype, flat.size);
  return flat;
}

void fill(Stream& stream, const Parameter& parameter, const std::vector<float>& values) {
  // through an f32 vector on the host only on the CPU's own terms: convert() is the one place that rounds
  const auto put = [&](const Tensor& target) {
    if (!target) return;
    const Tensor source(const_cast<float*>(values.data()), DType::kF32, Device{}, parameter.rows, parameter.columns,
                        parameter.columns);
    const Tensor matrix = target.rank() == 1 ? target.as_matrix(1, target.columns()) : target;
    if (stream.device().type == DeviceType::kCpu) {
      ops::convert(stream, {.in = source, .out = matrix});
      return;
    }
    Arena staging = Arena::allocate(stream.device(), source.bytes());
    const Tensor copy =
        staging.matrix(MemoryKind::kWorkspace, "staging", DType::kF32, parameter.rows, parameter.columns);
    stream.copy_to_device(copy, values.data());
    ops::convert(stream, {.in = copy, .out = matrix});
    stream.synchronize();
  };
  put(parameter.weight);
  if (parameter.master && parameter.master.data() != parameter.weight.data()) put(parameter.master);
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

Weights::Weights(const ModelConfig& config, const DecoderOptions& options, Arena& arena) {
  PRIMUS_CHECK(!(options.lora && options.train_base), "adapters train over a frozen base");
  std::array<std::int64_t, 2> sizes{};
  {
    Arena throwaway = Arena::measuring(arena.device());
    flat = unmeasured(options, arena.device());
    sizes = Builder(config, options, throwaway, *this, {0, 0}).build();
    registry = ParameterRegistry();
    layers.clear();
    cleared.clear();
  }
  flat = allocate_flat(options, arena, sizes[0], sizes[1]);
  Builder(config, options, arena, *this, {0, sizes[0]}).build();
}

void Weights::clear(Stream& stream) {
  for (const Tensor& tensor : cleared) stream.fill_zero(tensor);
  for (const Tensor& tensor : {flat.weights, flat.master, flat.gradients, flat.exp_avg, flat.exp_avg_sq}) {
    if (tensor) stream.fill_zero(tensor);
  }
}

void Weights::clear_added_gradients(Stream& stream) {
  for (const FlatSegment& segment : flat.segments) {
    if (!segment.decays) stream.fill_zero(flat.gradients.slice(segment.begin, segment.end));
  }
  if (d_embedding && d_embedding.data() != d_head.data()) stream.fill_zero(d_embedding);
}

void initialize_adapters(Stream& stream, ParameterRegistry& registry, std::uint64_t seed) {
  std::vector<float> values;
  std::uint64_t place = 0;
  for (const Parameter& parameter : registry.all()) {
    if (!ends_with(parameter.name, ".lora_A.weight")) continue;
    const Philox random{.seed = seed, .stream = place++};
    const float bound = 1.0F / std::sqrt(static_cast<float>(parameter.columns));
    values.resize(static_cast<std::size_t>(parameter.numel()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = (2.0F * random.uniform(i) - 1.0F) * bound;
    fill(stream, parameter, values);
  }
  publish_adapters(stream, registry);
}

void initialize_random(Stream& stream, ParameterRegistry& registry, std::uint64_t seed) {
  // one block of normal numbers, of which every few rows take another part: random enough for timing, and quick
  constexpr std::int64_t kBlock = std::int64_t{1} << 22;
  constexpr std::int64_t kStep = 7928;  // from part to part
  const Philox random{.seed = seed, .stream = 0x5EED};
  std::vector<float> numbers(kBlock);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = 0.02F * random.normal(i);
  Arena arena = Arena::allocate(stream.device(), numbers.size() * sizeof(float));
  const Tensor block = arena.vector(MemoryKind::kWorkspace, "random numbers", DType::kF32, kBlock);
  stream.copy_to_device(block, numbers.data());

  std::int64_t place = 0;
  const auto fill_rows = [&](const Tensor& target, std::int64_t count) {
    for (std::int64_t begin = 0; begin < target.rows(); begin += count) {
      const Tensor rows = target.slice(begin, std::min(begin + count, target.rows()));
      const std::int64_t size = rows.numel();
      ops::convert(stream,
                   {.in = block.slice(place, place + size).as_matrix(rows.rows(), rows.columns()), .out = rows});
      place = (place + kStep) % (kBlock / 2);
    }
  };
  for (const Parameter& parameter : registry.all()) {
    if (ends_with(parameter.name, ".lora_A.weight") || ends_with(parameter.name, ".lora_B.weight")) continue;
    if (parameter.rank == 1) {
      const float value = ends_with(parameter.name, ".bias") ? 0.0F : 1.0F;
      fill(stream, parameter, std::vector<float>(static_cast<std::size_t>(parameter.numel()), value));
      continue;
    }
    const std::int64_t count = kBlock / 2 / parameter.columns;
    PRIMUS_CHECK(count > 0, parameter.name, parameter.columns);
    const std::int64_t begun = place;
    fill_rows(parameter.weight, count);
    if (parameter.master && parameter.master.data() != parameter.weight.data()) {
      place = begun;  // the same numbers
      fill_rows(parameter.master, count);
    }
  }
  stream.synchronize();
}

void publish_adapters(Stream& stream, const ParameterRegistry& registry) {
  for (const Parameter& parameter : registry.all()) {
    if (!parameter.published) continue;
    ops::convert(stream, {.in = parameter.master, .out = parameter.published, .scale = parameter.publish_scale});
  }
}

}  // namespace primus::model
