#include "support.h"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <sstream>

#include "base/random.h"
#include "ops/cpu_backend.h"

namespace primus::checkpoint {
namespace {

constexpr std::size_t kArenaBytes = std::size_t{64} << 20;

Arena make_arena() {
  ops::use_cpu_backend();
  return Arena::allocate({}, kArenaBytes);
}

template <typename T>
void fill_as(const Tensor& tensor, const Philox& random) {
  for (std::int64_t row = 0; row < tensor.rows(); ++row) {
    for (std::int64_t column = 0; column < tensor.columns(); ++column) {
      const auto index = static_cast<std::uint64_t>(row * tensor.columns() + column);
      tensor.as<T>()[row * tensor.row_stride() + column] = static_cast<T>(random.normal(index));
    }
  }
}

template <typename T>
std::vector<float> values_as(const Tensor& tensor) {
  std::vector<float> result;
  for (std::int64_t row = 0; row < tensor.rows(); ++row) {
    for (std::int64_t column = 0; column < tensor.columns(); ++column) {
      result.push_back(static_cast<float>(tensor.as<T>()[row * tensor.row_stride() + column]));
    }
  }
  return result;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  static std::atomic<int> count{0};
  // memory where there is some: writing syncs every file, and a disk takes its time for that
  const fs::path memory = "/dev/shm";
  path_ = (::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path()) /
          fmt::format("primus_checkpoint_{}_{}", ::getpid(), count++);
  fs::remove_all(path_);
  fs::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code code;
  fs::remove_all(path_, code);
}

fs::path reference(const std::string& model) { return fs::path(PRIMUS_TEST_DATA) / "reference" / model; }

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  ASSERT_TRUE(file.good()) << path;
}

std::string with_file_size_limit(std::uint64_t bytes, const std::function<void()>& action) {
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limited{bytes, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limited);
  std::string message;
  try {
    action();
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  return message;
}

TinyModel::TinyModel(const model::ModelConfig& config, const TinyOptions& options)
    : options_(options), arena_(make_arena()), stream_(Device{}) {
  const std::int64_t hidden = config.hidden_size, inter = config.intermediate_size;
  const auto vector = [&](const std::string& name, std::int64_t size) { add_fused({{name, 1}}, size, 1, false); };
  add_fused({{"model.embed_tokens", config.vocab_size}}, hidden, 2, false);
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
    vector(prefix + "input_layernorm.weight", hidden);
    add_fused({{attention + "q_proj", config.q_size()},
               {attention + "k_proj", config.kv_size()},
               {attention + "v_proj", config.kv_size()}},
              hidden, 2, true);
    if (config.qkv_bias) {
      vector(attention + "q_proj.bias", config.q_size());
      vector(attention + "k_proj.bias", config.kv_size());
      vector(attention + "v_proj.bias", config.kv_size());
    }
    if (config.qk_norm) {
      vector(attention + "q_norm.weight", config.head_dim);
      vector(attention + "k_norm.weight", config.head_dim);
    }
    add_fused({{attention + "o_proj", hidden}}, config.q_size(), 2, true);
    vector(prefix + "post_attention_layernorm.weight", hidden);
    add_fused({{mlp + "gate_proj", inter}, {mlp + "up_proj", inter}}, hidden, 2, true);
    add_fused({{mlp + "down_proj", hidden}}, inter, 2, true);
  }
  vector("model.norm.weight", hidden);
  if (!config.tie_word_embeddings) add_fused({{"lm_head", config.vocab_size}}, hidden, 2, false);
}

model::Parameter& TinyModel::operator[](const std::string& name) {
  model::Parameter* parameter = registry_.find(name);
  EXPECT_NE(parameter, nullptr) << name;
  return *parameter;
}

void TinyModel::give_training_memory(model::Parameter& parameter) {
  const auto take = [&](DType dtype) {
    if (parameter.rank == 1) return arena_.vector(MemoryKind::kOptimizer, parameter.name, dtype, parameter.columns);
    return arena_.matrix(MemoryKind::kOptimizer, parameter.name, dtype, parameter.rows, parameter.columns);
  };
  parameter.trainable = true;
  const bool shared = parameter.weight && parameter.weight.dtype() == DType::kF32;
  parameter.master = shared ? parameter.weight : take(DType::kF32);
  parameter.exp_avg = take(options_.moments);
  parameter.exp_avg_sq = take(options_.moments);
}

void TinyModel::add_fused(const std::vector<std::pair<std::string, std::int64_t>>& parts, std::int64_t columns,
                          int rank, bool adapted) {
  const bool lora = adapted && options_.lora_rank > 0;
  const auto count = static_cast<std::int64_t>(parts.size());
  std::int64_t rows = 0;
  for (const auto& part : parts) rows += part.second;
  const Tensor buffer = rank == 1 ? arena_.vector(MemoryKind::kWeights, parts[0].first, options_.compute, columns)
                                  : arena_.matrix(MemoryKind::kWeights, parts[0].first, options_.compute, rows,
                                                  columns + (lora ? count * options_.lora_rank : 0));
  std::int64_t row = 0;
  std::int64_t rank_begin = columns;
  for (const auto& [name, part_rows] : parts) {
    model::Parameter parameter{
        .name = rank == 1 ? name : name + ".weight", .rank = rank, .rows = part_rows, .columns = columns};
    const Tensor view = rank == 1 ? buffer : buffer.slice(row, row + part_rows);
    parameter.weight = rank == 1 ? view : view.columns(0, columns);
    if (options_.train_base && options_.lora_rank == 0) give_training_memory(parameter);
    registry_.add(std::move(parameter));
    if (lora) add_adapter(name, view, part_rows, columns, rank_begin);
    row += part_rows;
    rank_begin += options_.lora_rank;
  }
}

void TinyModel::add_adapter(const std::string& module, const Tensor& base, std::int64_t rows, std::int64_t columns,
                            std::int64_t rank_begin) {
  model::Parameter a{.name = module + ".lora_A.weight", .rows = options_.lora_rank, .columns = columns};
  a.weight = arena_.matrix(MemoryKind::kWeights, a.name, options_.compute, a.rows, a.columns);
  give_training_memory(a);
  registry_.add(std::move(a));
  model::Parameter b{.name = module + ".lora_B.weight", .rows = rows, .columns = options_.lora_rank};
  b.published = base.columns(rank_begin, rank_begin + options_.lora_rank);
  b.publish_scale = static_cast<float>(options_.lora_alpha / static_cast<double>(options_.lora_rank));
  give_training_memory(b);
  registry_.add(std::move(b));
}

std::vector<float> values(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::kF32:
      return values_as<float>(tensor);
    case DType::kBF16:
      return values_as<BFloat16>(tensor);
    case DType::kF16:
      return values_as<Float16>(tensor);
    default:
      ADD_FAILURE() << tensor.describe();
      return {};
  }
}

void fill(const Tensor& tensor, std::uint64_t seed) {
  const Philox random{.seed = seed};
  if (tensor.dtype() == DType::kF32) return fill_as<float>(tensor, random);
  if (tensor.dtype() == DType::kBF16) return fill_as<BFloat16>(tensor, random);
  fill_as<Float16>(tensor, random);
}

}  // namespace primus::checkpoint
