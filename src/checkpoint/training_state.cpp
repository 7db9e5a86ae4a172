#include "checkpoint/training_state.h"

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/state_manifest.h"
#include "checkpoint/transfer.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;
using model::Parameter;

/// The tensors that a trainable parameter has in a state.
struct Kind {
  const char* prefix;
  Tensor Parameter::*member;
};
constexpr std::array<Kind, 3> kKinds{
    {{"", &Parameter::master}, {"exp_avg.", &Parameter::exp_avg}, {"exp_avg_sq.", &Parameter::exp_avg_sq}}};

/// The tensors of a state by name, assembled from their slices.
class StateReader {
 public:
  StateReader(const fs::path& folder, const StateManifest& manifest) : folder_(folder.string()), manifest_(manifest) {
    for (const StateFile& file : manifest.files) {
      files_.emplace(file.name, std::make_unique<SafetensorsFile>(folder / file.name));
    }
  }

  const std::string& folder() const { return folder_; }

  /// All elements of `name`, in row-major order, valid until the next call. Throws Error when it is not there or not of
  /// `shape`.
  std::pair<std::span<const std::byte>, DType> elements(const std::string& name,
                                                        const std::vector<std::int64_t>& shape) {
    const auto found = manifest_.tensors.find(name);
    if (found == manifest_.tensors.end()) {
      throw bad_input("{}: has no {}; it is the state of a run that trained other parameters", folder_, name);
    }
    const StateTensor& tensor = found->second;
    if (tensor.shape != shape) {
      throw bad_input("{}: {}: shape {} where the model asks for {}", folder_, name, shape_text(tensor.shape),
                      shape_text(shape));
    }
    if (tensor.slices.empty()) throw bad_input("{}: {} has no slices", folder_, name);
    const StoredTensor& first = stored(name, tensor.slices.front());
    const DType dtype = first.float_dtype();
    if (tensor.slices.size() == 1 && first.shape == shape) return {first.data, dtype};
    assemble(name, tensor, dtype);
    return {assembled_, dtype};
  }

 private:
  const StoredTensor& stored(const std::string& name, const StateSlice& slice) const {
    const auto file = files_.find(slice.file);
    const StoredTensor* tensor = file == files_.end() ? nullptr : file->second->find(name);
    if (tensor == nullptr || tensor->shape != slice.shape) {
      throw bad_input("{}: {} says that {} has {} {}, which it has not", folder_, kManifestName, slice.file, name,
                      shape_text(slice.shape));
    }
    return *tensor;
  }

  void assemble(const std::string& name, const StateTensor& tensor, DType dtype) {
    const auto rows_columns = [](const std::vector<std::int64_t>& sizes, std::int64_t for_vector) {
      return sizes.size() == 2 ? std::pair(sizes[0], sizes[1]) : std::pair(for_vector, sizes[0]);
    };
    const auto [rows, columns] = rows_columns(tensor.shape, 1);
    const std::size_t element = size_of(dtype);
    assembled_.resize(static_cast<std::size_t>(rows * columns) * element);
    std::int64_t filled = 0;
    for (const StateSlice& slice : tensor.slices) {
      const StoredTensor& part = stored(name, slice);
      if (part.float_dtype() != dtype) throw bad_input("{}: {}: slices of different types", folder_, name);
      const auto [first_row, first_column] = rows_columns(slice.begin, 0);
      const auto [part_rows, part_columns] = rows_columns(slice.shape, 1);
      const std::size_t row_bytes = static_cast<std::size_t>(part_columns) * element;
      for (std::int64_t row = 0; row < part_rows; ++row) {
        const auto target = static_cast<std::size_t>((first_row + row) * columns + first_column) * element;
        std::memcpy(assembled_.data() + target, part.data.data() + static_cast<std::size_t>(row) * row_bytes,
                    row_bytes);
      }
      filled += part_rows * part_columns;
    }
    if (filled != rows * columns) throw bad_input("{}: {}: its slices leave parts of it out", folder_, name);
  }

  std::string folder_;
  const StateManifest& manifest_;
  std::unordered_map<std::string, std::unique_ptr<SafetensorsFile>> files_;
  std::vector<std::byte> assembled_;
};

/// A run that trains fewer parameters than the state has would silently lose some.
void check_no_more(const StateManifest& manifest, const model::ParameterRegistry& registry, const fs::path& folder) {
  for (const auto& [name, tensor] : manifest.tensors) {
    if (name.starts_with("exp_avg.") || name.starts_with("exp_avg_sq.")) continue;
    const Parameter* parameter = registry.find(name);
    if (parameter != nullptr && parameter->trainable) continue;
    throw bad_input("{}: holds {}, which this run does not train; resume with the settings that it was written with",
                    folder.string(), name);
  }
}

}  // namespace

void save_state(const fs::path& folder, const TrainingState& state, const model::ParameterRegistry& registry,
                Stream& stream) {
  const std::string file_name = "rank_00000.safetensors";
  StateManifest manifest{.state = state};
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string, const Tensor*> sources;
  for (const Parameter& parameter : registry.all()) {
    if (!parameter.trainable) continue;
    const std::vector<std::int64_t> shape = file_shape(parameter);
    for (const Kind& kind : kKinds) {
      const Tensor& tensor = parameter.*kind.member;
      if (!tensor) continue;
      const std::string name = kind.prefix + parameter.name;
      specs.emplace_back(name, tensor.dtype(), shape);
      sources.emplace(name, &tensor);
      const StateSlice whole{file_name, std::vector<std::int64_t>(shape.size(), 0), shape};
      manifest.tensors.emplace(name, StateTensor{shape, {whole}});
    }
  }
  Transfer transfer(stream);
  replace_directory(folder, [&](const fs::path& fresh) {
    SafetensorsWriter writer(fresh / file_name, specs, {{"format", "primus"}});
    for (const TensorSpec& spec : writer.tensors()) {
      const Tensor& source = *sources.at(spec.name);
      transfer.read(source, source.dtype(), [&](std::span<const std::byte> bytes) { writer.write(bytes); });
    }
    manifest.files.push_back({file_name, writer.size(), writer.crc32c()});
    writer.finish();
    write_text(fresh / kManifestName, manifest_text(manifest));
  });
}

std::uint64_t state_bytes(const model::ParameterRegistry& registry) {
  std::uint64_t bytes = 0;
  for (const Parameter& parameter : registry.all()) {
    if (!parameter.trainable) continue;
    for (const Kind& kind : kKinds) {
      const Tensor& tensor = parameter.*kind.member;
      if (tensor) bytes += static_cast<std::uint64_t>(parameter.numel()) * size_of(tensor.dtype());
    }
  }
  return bytes;
}

VerifiedState::VerifiedState(fs::path folder)
    : folder_(std::move(folder)), manifest_(std::make_shared<StateManifest>(read_verified_manifest(folder_))) {}

const TrainingState& VerifiedState::state() const { return manifest_->state; }

void check_base(const VerifiedState& saved, const std::string& base_fingerprint) {
  const TrainingState& state = saved.state();
  if (state.base_fingerprint.empty() || base_fingerprint.empty() || state.base_fingerprint == base_fingerprint) return;
  throw bad_input(
      "{}: was trained on the frozen weights of {} ({}), and the weights here are others ({}); resume on the same base "
      "checkpoint",
      saved.folder().string(), state.base_path, state.base_fingerprint, base_fingerprint);
}

void load_state(const VerifiedState& saved, model::ParameterRegistry& registry, Stream& stream,
                const std::string& base_fingerprint) {
  const fs::path& folder = saved.folder();
  const StateManifest& manifest = saved.manifest();
  check_base(saved, base_fingerprint);
  check_no_more(manifest, registry, folder);
  StateReader reader(folder, manifest);
  // everything is looked up before anything is overwritten
  const auto each_tensor =
      [&](const std::function<void(Parameter&, const Kind&, std::span<const std::byte>, DType)>& use) {
        for (Parameter& parameter : registry.all()) {
          if (!parameter.trainable) continue;
          for (const Kind& kind : kKinds) {
            if (!(parameter.*kind.member)) continue;
            const auto [elements, dtype] = reader.elements(kind.prefix + parameter.name, file_shape(parameter));
            use(parameter, kind, elements, dtype);
          }
        }
      };
  each_tensor([](Parameter&, const Kind&, std::span<const std::byte>, DType) {});
  Transfer transfer(stream);
  each_tensor([&](Parameter& parameter, const Kind& kind, std::span<const std::byte> elements, DType dtype) {
    if (kind.member == &Parameter::master) {
      set_values(transfer, parameter, elements, dtype, reader.folder());
    } else if (!transfer.write(parameter.*kind.member, elements, dtype)) {
      throw bad_input("{}: {}{}: a value is too large for its type", reader.folder(), kind.prefix, parameter.name);
    }
  });
  stream.synchronize();
}

}  // namespace primus::checkpoint
