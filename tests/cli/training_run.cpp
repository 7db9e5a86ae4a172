#include "training_run.h"

#include <nlohmann/json.hpp>

namespace primus::cli_test {

TrainingRun::TrainingRun(const std::string& model)
    : settings_{{"hf_path", (reference(model) / "hf").string()},
                {"peft", "lora"},
                {"train_iters", "6"},
                {"global_batch_size", "4"},
                {"micro_batch_size", "2"},
                {"seq_length", "128"},
                {"lr_warmup_iters", "2"},
                {"finetune_lr", "1.0e-3"},
                {"precision_config", "fp32"},
                {"device", "cpu"},
                {"dataset.path", (reference(model) / "data.jsonl").string()}} {}

void TrainingRun::set(const std::string& key, const std::string& value) {
  for (auto& [name, text] : settings_) {
    if (name == key) {
      text = value;
      return;
    }
  }
  settings_.emplace_back(key, value);
}

void TrainingRun::add_line(const std::string& line) { lines_.push_back(line); }

std::string TrainingRun::config() const {
  std::string yaml =
      "work_group: team\nuser_name: user\nexp_name: run\nworkspace: " + (scratch_.path() / "out").string() +
      "\nmodules:\n  post_trainer:\n    framework: megatron_bridge\n    config: sft_trainer.yaml\n"
      "    overrides:\n";
  const auto line = [](const char* indent, const std::string& key, const std::string& value) {
    return indent + key + ": " + value + "\n";
  };
  std::string dataset;
  for (const auto& [key, value] : settings_) {
    if (key.rfind("dataset.", 0) == 0) {
      dataset += line("        ", key.substr(8), value);
    } else {
      yaml += line("      ", key, value);
    }
  }
  for (const std::string& own : lines_) yaml += "      " + own + "\n";
  return yaml + "      dataset:\n" + dataset;
}

Outcome TrainingRun::train(const std::vector<std::string>& more, const RunOptions& options) const {
  const std::string file = scratch_ / "run.yaml";
  write(file, config());
  std::vector<std::string> arguments{"direct", "train", "posttrain", "--config", file};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_primus(arguments, options);
}

std::vector<std::string> TrainingRun::steps() const {
  std::vector<std::string> rows;
  for (const std::string& line : lines_of(read(directory() / "metrics.jsonl"))) {
    auto row = nlohmann::ordered_json::parse(line);
    if (!row.contains("loss")) continue;
    for (const char* key : {"elapsed_ms", "tokens_per_second_per_gpu", "model_tflops_per_gpu"}) row.erase(key);
    rows.push_back(row.dump());
  }
  return rows;
}

}  // namespace primus::cli_test
