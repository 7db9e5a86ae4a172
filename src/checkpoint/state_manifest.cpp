#include "checkpoint/state_manifest.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/checksum.h"
#include "checkpoint/safetensors.h"
#include "model/json_object.h"

namespace primus::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using model::JsonObject;

constexpr const char* kFormat = "primus training state";
constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

std::uint32_t crc_of(std::string_view text) { return crc32c(std::as_bytes(std::span(text.data(), text.size()))); }

/// What follows the checked text.
std::string checksum_tail(std::string_view checked) {
  return fmt::format(",\n  \"manifest_crc32c\": \"{:08x}\"\n}}\n", crc_of(checked));
}

Json number_json(double value) {
  if (std::isfinite(value)) return value;  // written with as many digits as bring back the same bits
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double read_number(const nlohmann::json& value, const std::string& where) {
  if (value.is_number()) return value.get<double>();
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  throw bad_input("{}: a value in `numbers` is not a number", where);
}

Json layout_json(const Layout& layout) {
  return {{"tensor_parallel", layout.tensor_parallel},
          {"context_parallel", layout.context_parallel},
          {"data_parallel", layout.data_parallel},
          {"pipeline_parallel", layout.pipeline_parallel}};
}

Layout read_layout(const JsonObject& object) {
  constexpr std::int64_t kMost = 1 << 24;
  return {.tensor_parallel = object.integer("tensor_parallel", 1, kMost),
          .context_parallel = object.integer("context_parallel", 1, kMost),
          .data_parallel = object.integer("data_parallel", 1, kMost),
          .pipeline_parallel = object.integer("pipeline_parallel", 1, kMost)};
}

void read_state(const JsonObject& object, TrainingState& state) {
  state.iteration = object.integer("iteration", 0, kLargest);
  state.consumed_rows = object.integer("consumed_rows", 0, kLargest);
  const nlohmann::json* seed = object.find("seed");
  if (seed == nullptr || !seed->is_number_unsigned()) object.refuse("seed", "a whole number is expected");
  state.seed = seed->get<std::uint64_t>();
  for (const auto& [name, value] : object.find("counters")->items()) {
    if (!value.is_number_integer()) object.refuse("counters", "whole numbers are expected");
    state.counters[name] = value.get<std::int64_t>();
  }
  for (const auto& [name, value] : object.find("numbers")->items()) {
    state.numbers[name] = read_number(value, object.where());
  }
  state.config_json = object.string("config");
  state.layout = read_layout(object.object("layout"));
  const JsonObject base = object.object("base");
  state.base_path = base.string("path");
  state.base_fingerprint = base.string("fingerprint");
}

void check_slice(const StateTensor& tensor, const StateSlice& slice, const std::string& where) {
  bool inside = slice.begin.size() == tensor.shape.size() && slice.shape.size() == tensor.shape.size();
  for (std::size_t i = 0; inside && i < tensor.shape.size(); ++i) {
    inside = slice.begin[i] >= 0 && slice.shape[i] >= 0 && slice.begin[i] <= tensor.shape[i] &&
             slice.shape[i] <= tensor.shape[i] - slice.begin[i];
  }
  if (!inside) {
    throw bad_input("{}: a slice {} at {} is not within {}", where, shape_text(slice.shape), shape_text(slice.begin),
                    shape_text(tensor.shape));
  }
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos && name != "." &&
         name != "..";
}

void read_files(const JsonObject& object, StateManifest& manifest) {
  for (const nlohmann::json& entry : *object.find("files")) {
    const JsonObject file(entry, object.where() + ": files");
    StateFile result{.name = file.string("name")};
    if (!is_plain_name(result.name)) file.refuse("name", "the name of a file in the same directory is expected");
    result.bytes = static_cast<std::uint64_t>(file.integer("bytes", 0, kLargest));
    const std::string sum = file.string("crc32c");
    const auto [end, code] = std::from_chars(sum.data(), sum.data() + sum.size(), result.crc32c, 16);
    if (code != std::errc() || end != sum.data() + sum.size()) file.refuse("crc32c", "eight digits are expected");
    manifest.files.push_back(std::move(result));
  }
}

void read_tensors(const JsonObject& object, StateManifest& manifest) {
  for (const auto& [name, entry] : object.find("tensors")->items()) {
    const std::string where = fmt::format("{}: tensors: {}", object.where(), name);
    const JsonObject tensor(entry, where);
    StateTensor result{.shape = tensor.integers("shape")};
    if (!tensor.has("slices")) tensor.refuse("slices", "a list is expected");
    for (const nlohmann::json& part : *tensor.find("slices")) {
      const JsonObject slice(part, where);
      result.slices.push_back({slice.string("file"), slice.integers("begin"), slice.integers("shape")});
      check_slice(result, result.slices.back(), where);
    }
    manifest.tensors.emplace(name, std::move(result));
  }
}

}  // namespace

std::string manifest_text(const StateManifest& manifest) {
  const TrainingState& state = manifest.state;
  Json tree = {{"format", kFormat},
               {"format_version", kStateFormatVersion},
               {"engine_version", PRIMUS_VERSION},
               {"iteration", state.iteration},
               {"consumed_rows", state.consumed_rows},
               {"seed", state.seed},
               {"layout", layout_json(state.layout)},
               {"counters", Json::object()},
               {"numbers", Json::object()},
               {"config", state.config_json},
               {"base", {{"path", state.base_path}, {"fingerprint", state.base_fingerprint}}},
               {"files", Json::array()},
               {"tensors", Json::object()}};
  for (const auto& [name, value] : state.counters) tree["counters"][name] = value;
  for (const auto& [name, value] : state.numbers) tree["numbers"][name] = number_json(value);
  for (const StateFile& file : manifest.files) {
    tree["files"].push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"crc32c", fmt::format("{:08x}", file.crc32c)}});
  }
  nlohmann::json tensors = nlohmann::json::object();
  for (const auto& [name, tensor] : manifest.tensors) {
    nlohmann::json slices = nlohmann::json::array();
    for (const StateSlice& slice : tensor.slices) {
      slices.push_back({{"file", slice.file}, {"begin", slice.begin}, {"shape", slice.shape}});
    }
    tensors[name] = {{"shape", tensor.shape}, {"slices", slices}};
  }
  tree["tensors"] = tensors;
  std::string text = tree.dump(1, ' ', false, Json::error_handler_t::replace);
  text.resize(text.rfind('}'));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text + checksum_tail(text);
}

StateManifest parse_manifest(const std::string& text, const std::string& where) {
  const std::size_t tail = text.rfind(",\n  \"manifest_crc32c\"");
  if (tail == std::string::npos || text.substr(tail) != checksum_tail(std::string_view(text).substr(0, tail))) {
    throw bad_input("{}: damaged: its checksum does not fit", where);
  }
  const nlohmann::json tree = model::parse_json_object(text, where);
  const JsonObject object(tree, where);
  if (object.string("format", "") != kFormat) throw bad_input("{}: not a training state", where);
  const std::int64_t version = object.integer("format_version", 1, kLargest);
  if (version > kStateFormatVersion) {
    throw bad_input("{}: written in format {} by version {}; this version ({}) reads formats up to {}", where, version,
                    object.string("engine_version", "?"), PRIMUS_VERSION, kStateFormatVersion);
  }
  for (const char* key : {"counters", "numbers", "tensors"}) {
    if (!object.has(key) || !object.find(key)->is_object()) object.refuse(key, "an object is expected");
  }
  if (!object.has("files") || !object.find("files")->is_array()) object.refuse("files", "a list is expected");
  StateManifest manifest;
  read_state(object, manifest.state);
  read_files(object, manifest);
  read_tensors(object, manifest);
  return manifest;
}

StateManifest read_verified_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  if (!fs::exists(path)) throw bad_input("{}: no {} there; not a training state", folder.string(), kManifestName);
  StateManifest manifest = parse_manifest(read_text(path), path.string());
  for (const StateFile& file : manifest.files) {
    const fs::path data = folder / file.name;
    if (!fs::exists(data)) throw bad_input("{}: missing; the training state is incomplete", data.string());
    const MappedFile mapped(data);
    if (mapped.bytes().size() != file.bytes) {
      throw bad_input("{}: {} bytes where {} were written; the training state is damaged", data.string(),
                      mapped.bytes().size(), file.bytes);
    }
    const std::uint32_t sum = crc32c(mapped.bytes());
    if (sum != file.crc32c) {
      throw bad_input("{}: checksum {:08x} where {:08x} was written; the training state is damaged", data.string(), sum,
                      file.crc32c);
    }
  }
  return manifest;
}

}  // namespace primus::checkpoint
