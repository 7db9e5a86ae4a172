#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/adapter_file.h"
#include "checkpoint/hf.h"
#include "checkpoint/parallel.h"
#include "checkpoint/transfer.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;

std::vector<float> to_floats(const StoredTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.numel()));
  const bool fits = convert_elements(tensor.data.data(), tensor.float_dtype(),
                                     reinterpret_cast<std::byte*>(values.data()), DType::kF32, tensor.numel());
  PRIMUS_CHECK(fits, tensor.name);
  return values;
}

/// s·B·A of one module.
struct Delta {
  std::vector<float> a;  // (rank, in)
  std::vector<float> b;  // (out, rank)
  std::int64_t rank = 0;
  std::int64_t in = 0;
  float scale = 1.0F;

  /// weight[row] += s · Σ_k b[row, k] · a[k], for rows [begin, end) of the module; `weight` is (end - begin, in).
  void add(float* weight, std::int64_t begin, std::int64_t end) const {
    constexpr std::int64_t kTile = 1024;  // columns: 4 KiB of each row of A
    std::vector<float> sum(kTile);
    for (std::int64_t column = 0; column < in; column += kTile) {
      const std::int64_t width = std::min(kTile, in - column);
      for (std::int64_t row = begin; row < end; ++row) {
        std::fill(sum.begin(), sum.end(), 0.0F);
        for (std::int64_t k = 0; k < rank; ++k) {
          const float factor = b[static_cast<std::size_t>(row * rank + k)];
          const float* a_row = a.data() + k * in + column;
          for (std::int64_t j = 0; j < width; ++j) sum[static_cast<std::size_t>(j)] += factor * a_row[j];
        }
        float* target = weight + (row - begin) * in + column;
        for (std::int64_t j = 0; j < width; ++j) target[j] += scale * sum[static_cast<std::size_t>(j)];
      }
    }
  }
};

void check_fit(const StoredTensor& weight, const AdapterPair& pair) {
  static_cast<void>(weight.float_dtype());
  if (weight.shape.size() != 2 || pair.a->shape[1] != weight.shape[1] || pair.b->shape[0] != weight.shape[0]) {
    throw bad_input("{}: {}: lora_A {} and lora_B {} do not fit the weight {} in {}", pair.a->file, weight.name,
                    shape_text(pair.a->shape), shape_text(pair.b->shape), shape_text(weight.shape), weight.file);
  }
}

Delta make_delta(const StoredTensor& weight, const AdapterPair& pair, const LoraInfo& info) {
  return {to_floats(*pair.a), to_floats(*pair.b), info.rank, weight.shape[1],
          static_cast<float>(info.alpha / static_cast<double>(info.rank))};
}

/// The weight's rows with the delta, block by block.
void write_merged(const StoredTensor& weight, const Delta& delta, const ByteSink& sink) {
  constexpr std::int64_t kBlockElements = 1 << 21;
  const std::int64_t rows = weight.shape[0];
  const std::int64_t block_rows =
      std::max<std::int64_t>(1, std::min(rows, kBlockElements / std::max<std::int64_t>(1, delta.in)));
  const DType dtype = weight.float_dtype();
  const auto row_bytes = static_cast<std::size_t>(delta.in) * size_of(dtype);
  std::vector<float> block(static_cast<std::size_t>(block_rows * delta.in));
  std::vector<std::byte> out(static_cast<std::size_t>(block_rows) * row_bytes);
  auto* floats = reinterpret_cast<std::byte*>(block.data());
  for (std::int64_t begin = 0; begin < rows; begin += block_rows) {
    const std::int64_t end = std::min(rows, begin + block_rows);
    const std::int64_t count = (end - begin) * delta.in;
    bool fits = convert_elements(weight.data.data() + static_cast<std::size_t>(begin) * row_bytes, dtype, floats,
                                 DType::kF32, count);
    parallel_ranges(end - begin, count * delta.rank, [&](std::int64_t from, std::int64_t to) {
      delta.add(block.data() + from * delta.in, begin + from, begin + to);
    });
    fits = fits && convert_elements(floats, DType::kF32, out.data(), dtype, count);
    if (!fits) {
      throw bad_input("{}: {}: a merged value is too large for {}", weight.file, weight.name, weight.dtype);
    }
    sink({out.data(), static_cast<std::size_t>(end - begin) * row_bytes});
  }
}

}  // namespace

void merge_adapter(const fs::path& model, const fs::path& adapter, const fs::path& output,
                   std::uint64_t max_shard_bytes) {
  const ModelFiles files(model);
  const AdapterFile lora(adapter);
  for (const auto& [module, pair] : lora.modules()) {
    const StoredTensor* weight = files.find(module + ".weight");
    if (weight == nullptr) {
      throw bad_input("{}: adapts {}, which {} has not got; is it the adapter of another model?", lora.path(), module,
                      files.path().string());
    }
    check_fit(*weight, pair);
  }
  std::vector<TensorSpec> tensors;
  for (const StoredTensor* tensor : files.tensors()) tensors.emplace_back(*tensor);
  replace_directory(output, [&](const fs::path& fresh) {
    write_text(fresh / "config.json", read_text(model / "config.json"));
    copy_companion_files(model, fresh);
    write_model_files(fresh, tensors, max_shard_bytes, [&](const TensorSpec& tensor, const ByteSink& sink) {
      const StoredTensor& weight = *files.find(tensor.name);
      constexpr std::string_view kSuffix = ".weight";
      const bool is_weight = tensor.name.ends_with(kSuffix);
      const auto pair = is_weight ? lora.modules().find(tensor.name.substr(0, tensor.name.size() - kSuffix.size()))
                                  : lora.modules().end();
      if (pair == lora.modules().end()) {
        sink(weight.data);
      } else {
        write_merged(weight, make_delta(weight, pair->second, lora.info()), sink);
      }
    });
  });
}

}  // namespace primus::checkpoint
