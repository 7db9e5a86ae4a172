#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/hf.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/transfer.h"

namespace primus::checkpoint {
namespace {

/// Tensors that older files carry and no model needs; lm_head.weight of a tied model is the embedding once more.
bool is_known_extra(std::string_view name) {
  return name == "lm_head.weight" || name.ends_with(".rotary_emb.inv_freq");
}

/// The kernel may drop a tensor's pages once they are converted, so that a load does not fill memory with the file.
void release_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void check_shape(const StoredTensor& tensor, const model::Parameter& parameter) {
  const std::vector<std::int64_t> expected = file_shape(parameter);
  if (tensor.shape == expected) return;
  throw bad_input("{}: {}: shape {} where the configuration asks for {}", tensor.file, tensor.name,
                  shape_text(tensor.shape), shape_text(expected));
}

void warn_of_extras(const ModelFiles& files, const std::vector<std::string>& extras) {
  if (extras.empty()) return;
  constexpr std::size_t kNamed = 3;
  std::string names;
  for (std::size_t i = 0; i < std::min(kNamed, extras.size()); ++i) names += (i == 0 ? "" : ", ") + extras[i];
  if (extras.size() > kNamed) names += fmt::format(" and {} more", extras.size() - kNamed);
  log::warning("{}: passed over {} that the model has no use for: {}", files.path().string(),
               extras.size() == 1 ? "a tensor" : fmt::format("{} tensors", extras.size()), names);
}

[[noreturn]] void refuse_missing(const ModelFiles& files, const model::Parameter& parameter) {
  constexpr std::string_view kPrefix = "model.";
  std::string why = "the weights do not belong to the config.json beside them, or are incomplete";
  if (parameter.name.starts_with(kPrefix) && files.find(parameter.name.substr(kPrefix.size())) != nullptr) {
    why = "the names lack the prefix \"model.\": save the model as AutoModelForCausalLM, not as AutoModel";
  }
  throw bad_input("{}: {} {} is missing; {}", files.path().string(), parameter.name, shape_text(file_shape(parameter)),
                  why);
}

}  // namespace

void load_weights(const std::filesystem::path& folder, model::ParameterRegistry& registry, Stream& stream) {
  const ModelFiles files(folder);
  // everything is checked before the first byte is read
  for (const model::Parameter& parameter : registry.all()) {
    if (is_adapter(parameter)) continue;
    const StoredTensor* tensor = files.find(parameter.name);
    if (tensor == nullptr) refuse_missing(files, parameter);
    check_shape(*tensor, parameter);
    static_cast<void>(tensor->float_dtype());
  }
  std::vector<std::string> extras;
  std::size_t bytes = 0;
  const auto begin = std::chrono::steady_clock::now();
  Transfer transfer(stream);
  for (const StoredTensor* tensor : files.tensors()) {
    model::Parameter* parameter = registry.find(tensor->name);
    if (parameter == nullptr) {
      if (!is_known_extra(tensor->name)) extras.push_back(tensor->name);
      continue;
    }
    set_values(transfer, *parameter, tensor->data, tensor->float_dtype(), tensor->file);
    release_pages(tensor->data);
    bytes += tensor->data.size();
  }
  stream.synchronize();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  log::debug("loaded {:.2f} GB of weights in {:.2f} s, {:.2f} GB/s", static_cast<double>(bytes) * 1e-9, seconds,
             static_cast<double>(bytes) * 1e-9 / seconds);
  warn_of_extras(files, extras);
}

}  // namespace primus::checkpoint
