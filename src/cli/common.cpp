#include "cli/common.h"

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/hub_data.h"
#include "config/validate.h"
#include "data/cache.h"
#include "data/row_format.h"
#include "monitor/task_progress.h"
#include "train/trainer.h"

namespace primus::cli {
namespace {

data::LossMode loss_mode_of(config::LossMode mode) {
  switch (mode) {
    case config::LossMode::kDefault:
      return data::LossMode::kDefault;
    case config::LossMode::kAssistant:
      return data::LossMode::kAssistant;
    case config::LossMode::kLastTurn:
      return data::LossMode::kLastTurn;
    case config::LossMode::kCompletion:
      return data::LossMode::kCompletion;
    case config::LossMode::kFull:
      return data::LossMode::kFull;
  }
  return data::LossMode::kDefault;
}

}  // namespace

config::Resolved load_configuration(const Arguments& arguments) {
  config::Resolved resolved = config::load({.file = arguments.text("config"), .overrides = arguments.overrides});
  if (!resolved.ignored_keys.empty()) {
    std::string keys;
    for (const std::string& key : resolved.ignored_keys) keys += (keys.empty() ? "" : ", ") + key;
    log::info("accepted and without effect here: {}", keys);
  }
  return resolved;
}

OpenedCheckpoint open_checkpoint(const config::Resolved& resolved, train::CheckpointParts parts) {
  OpenedCheckpoint opened{.folder = train::resolve_checkpoint(resolved.config.hf_path, parts)};
  opened.model = model::load_model_config(opened.folder);
  const model::ModelConfig& model = opened.model;
  config::check_model(resolved, {.num_hidden_layers = static_cast<int>(model.num_hidden_layers),
                                 .num_attention_heads = static_cast<int>(model.num_attention_heads),
                                 .num_key_value_heads = static_cast<int>(model.num_key_value_heads),
                                 .intermediate_size = static_cast<int>(model.intermediate_size),
                                 .max_position_embeddings = static_cast<int>(model.max_position_embeddings)});
  if (model.sliding_window > 0 && resolved.config.seq_length > model.sliding_window) {
    throw bad_input(
        "seq_length {} is longer than the model's sliding window of {} tokens ({}/config.json), and attention here is "
        "over the whole document: lower seq_length to {}",
        resolved.config.seq_length, model.sliding_window, opened.folder.string(), model.sliding_window);
  }
  return opened;
}

std::optional<tokenizer::Tokenizer> open_tokenizer(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "tokenizer.json")) return std::nullopt;
  return tokenizer::Tokenizer::load(folder);
}

void check_dataset(const config::Resolved& resolved) {
  config::require_dataset(resolved);
  try {
    data::check_columns(resolved.config.dataset.columns);
  } catch (const Error& error) {
    throw Error(config::where_set(resolved, {"dataset.columns"}) + error.what(), error.code());
  }
}

data::LoadSettings data_settings(const config::RunConfig& config, const model::ModelConfig& model) {
  const config::DatasetConfig& dataset = config.dataset;
  return {.paths = dataset.path,
          .validation_paths = dataset.validation_path,
          .validation_fraction = dataset.validation_fraction,
          .format = dataset.format,
          .columns = dataset.columns,
          .loss_mode = loss_mode_of(dataset.loss_mode),
          .chat_template = dataset.chat_template,
          .seq_length = config.seq_length,
          .vocabulary_size = model.vocab_size,
          .num_workers = dataset.num_workers,
          .seed = config.seed,
          .cache_folder = data::default_token_cache(),
          .find_files = find_data};
}

void show_progress(data::LoadSettings& settings) {
  settings.on_progress = [bar = std::shared_ptr<monitor::TaskProgress>()](std::int64_t done,
                                                                          std::int64_t total) mutable {
    if (!bar) bar = std::make_shared<monitor::TaskProgress>(monitor::TaskOptions{.label = "tokenizing"});
    bar->update(done, total);
    if (done >= total) bar.reset();
  };
}

void require_free(const std::filesystem::path& output) {
  std::error_code code;
  const bool is_folder = std::filesystem::is_directory(output, code);
  if (is_folder ? std::filesystem::is_empty(output, code) : !std::filesystem::exists(output, code)) return;
  throw bad_input("--output {}: this is there already: name a folder that is new or empty, or remove it",
                  output.string());
}

std::filesystem::path make_run_directory(const config::RunConfig& config) {
  std::filesystem::path directory = config.run_directory();
  make_directories(directory / "logs");
  make_directories(train::checkpoint_directory(config));
  return directory;
}

}  // namespace primus::cli
