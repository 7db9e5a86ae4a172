#include "train/resume.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "config/schema.h"
#include "train/setup.h"

namespace primus::train {
namespace {

using Json = nlohmann::ordered_json;

/// Rows that are other ones, or cut at another length, almost surely differ in these sums.
std::string rows_of(const data::TokenSet& training) {
  return fmt::format("{} rows, {} tokens, {} of them trained", training.rows(), training.total_tokens(),
                     training.total_trained_tokens());
}

Json settings_of(const config::RunConfig& config, const data::TokenSet& training) {
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
  json["the training data"] = rows_of(training);
  return json;
}

template <typename Map, typename Value>
Value number_of(const Map& map, const char* name, Value otherwise) {
  const auto found = map.find(name);
  return found == map.end() ? otherwise : static_cast<Value>(found->second);
}

}  // namespace

std::string run_json(const config::RunConfig& config, const data::TokenSet& training, const model::ModelConfig& model,
                     const std::filesystem::path& checkpoint) {
  Json json = settings_of(config, training);
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
  return checkpoint::find_latest(path);
}

void check_resume(const std::string& saved_json, const config::RunConfig& config, const data::TokenSet& training,
                  const std::string& where) {
  const Json saved = Json::parse(saved_json, nullptr, /*allow_exceptions=*/false);
  if (!saved.is_object()) throw bad_input("{}: the checkpoint's settings cannot be read", where);
  std::string differences;
  const Json present = settings_of(config, training);
  for (const auto& [key, value] : present.items()) {
    const auto found = saved.find(key);
    if (found != saved.end() && *found == value) continue;
    differences += fmt::format("{}{} was {} and is {}", differences.empty() ? "" : "; ", key,
                               found == saved.end() ? "not set" : found->dump(), value.dump());
  }
  if (differences.empty()) return;
  throw bad_input(
      "{}: cannot go on with other settings: {}. Set them back, or start a new run under another exp_name (or remove "
      "the old run's folder)",
      where, differences);
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
