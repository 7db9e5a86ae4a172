#include "train/resume.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "config/schema.h"
#include "train/setup.h"
#include "train/trainer.h"

namespace primus::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRows = "the training data";

/// Rows that are other ones, or cut at another length, almost surely differ in these sums.
std::string rows_of(const data::TokenSet& training) {
  return fmt::format("{} rows, {} tokens, {} of them trained", training.rows(), training.total_tokens(),
                     training.total_trained_tokens());
}

Json settings_of(const config::RunConfig& config) {
  Json json;
  json["peft"] = config.peft == config::Peft::kLora ? "lora" : "none";
  if (config.peft == config::Peft::kLora) {
    json["peft_dim"] = config.peft_dim;
    json["peft_alpha"] = config.peft_alpha;
    json["peft_target_modules"] = target_modules(config);
  }
  json["global_batch_size"] = config.global_batch_size;
  json["seq_length"] = config.seq_length;
  json["packed_sequence"] = config.packed_sequence;
  json["seed"] = config.seed;
  json["dataset.path"] = config.dataset.path;
  json["dataset.weights"] = config.dataset.weights;
  json["dataset.validation_fraction"] = config.dataset.validation_fraction;
  json["dataset.columns"] = config.dataset.columns;
  json["dataset.loss_mode"] = config::find_key(config::Place::kSettings, "dataset.loss_mode")->show(config);
  json["dataset.chat_template"] = config.dataset.chat_template;
  json["dataset.shuffle"] = config.dataset.shuffle;
  return json;
}

Json saved_json(const checkpoint::VerifiedState& saved) {
  Json json = Json::parse(saved.state().config_json, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw bad_input("{}: the checkpoint's settings cannot be read", saved.folder().string());
  return json;
}

/// Throws Error naming each member of `present` that was saved otherwise, both values, and the ways out.
void compare(const checkpoint::VerifiedState& saved, const Json& present) {
  const Json before = saved_json(saved);
  std::string differences;
  for (const auto& [key, value] : present.items()) {
    const auto found = before.find(key);
    if (found != before.end() && *found == value) continue;
    differences += fmt::format("{}{} was {} and is {}", differences.empty() ? "" : "; ", key,
                               found == before.end() ? "not set" : found->dump(), value.dump());
  }
  if (differences.empty()) return;
  throw bad_input(
      "{}: this run began otherwise and cannot go on so: {}. Set this back, or start a new run under another exp_name "
      "(or remove the old run's folder)",
      saved.folder().string(), differences);
}

template <typename Map, typename Value>
Value number_of(const Map& map, const char* name, Value otherwise) {
  const auto found = map.find(name);
  return found == map.end() ? otherwise : static_cast<Value>(found->second);
}

}  // namespace

std::string run_json(const config::RunConfig& config, const data::TokenSet& training, const model::ModelConfig& model,
                     const std::filesystem::path& checkpoint) {
  Json json = settings_of(config);
  json[kRows] = rows_of(training);
  json["hf_path"] = config.hf_path;
  json["checkpoint"] = std::filesystem::absolute(checkpoint).string();
  json["model_config"] = model.json;
  json["peft_dropout"] = config.peft_dropout;
  return json.dump();
}

SavedRun read_run_json(const std::string& json, const std::string& where) {
  try {
    const Json saved = Json::parse(json);
    SavedRun run;
    run.adapters = saved.at("peft") == "lora";
    run.hf_path = saved.at("hf_path");
    run.checkpoint = saved.at("checkpoint").get<std::string>();
    run.model = model::parse_model_config(saved.at("model_config").get<std::string>(), where);
    if (run.adapters) {
      run.lora = {.rank = saved.at("peft_dim"),
                  .alpha = saved.at("peft_alpha"),
                  .dropout = saved.at("peft_dropout"),
                  .target_modules = saved.at("peft_target_modules")};
    }
    return run;
  } catch (const Json::exception& error) {
    throw bad_input("{}: the checkpoint does not say what run it is of: {}", where, error.what());
  }
}

std::optional<checkpoint::VerifiedState> open_state(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / "state.json")) return checkpoint::VerifiedState(path);
  if (auto state = checkpoint::find_latest(path)) return state;
  return checkpoint::find_latest(path / kCheckpoints);
}

std::optional<checkpoint::VerifiedState> state_to_resume(const config::RunConfig& config,
                                                         const std::filesystem::path& base) {
  auto saved = open_state(config.load.empty() ? checkpoint_directory(config) : std::filesystem::path(config.load));
  if (!saved) {
    if (!config.load.empty()) throw bad_input("load: {}: there is no complete checkpoint in this folder", config.load);
    return saved;
  }
  compare(*saved, settings_of(config));
  if (!saved->state().base_fingerprint.empty()) {
    checkpoint::check_base(*saved, checkpoint::fingerprint(checkpoint::ModelFiles(base)));
  }
  return saved;
}

void check_rows(const checkpoint::VerifiedState& saved, const data::TokenSet& training) {
  compare(saved, Json{{kRows, rows_of(training)}});
}

void put_state(const ops::StepState& state, checkpoint::TrainingState& saved) {
  saved.counters = {{"updates", state.updates},
                    {"skipped", state.skipped},
                    {"skipped_in_a_row", state.skipped_in_a_row},
                    {"finite_in_a_row", state.finite_in_a_row}};
  saved.numbers = {{"loss_scale", state.loss_scale}};
}

void take_state(const checkpoint::TrainingState& saved, const config::RunConfig& config, ops::StepState& state) {
  const double loss_scale = number_of(saved.numbers, "loss_scale", 1.0);  // 1: of another precision, or all used up
  if (config.precision_config == config::Precision::kFp16Mixed && loss_scale != 1.0) state.loss_scale = loss_scale;
  state.updates = number_of(saved.counters, "updates", saved.iteration);
  state.skipped = number_of(saved.counters, "skipped", std::int32_t{0});
  state.skipped_in_a_row = number_of(saved.counters, "skipped_in_a_row", std::int32_t{0});
  state.finite_in_a_row = number_of(saved.counters, "finite_in_a_row", std::int32_t{0});
}

}  // namespace primus::train
