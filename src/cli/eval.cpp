#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "config/validate.h"
#include "train/evaluate.h"
#include "train/open_model.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

/// The validation set of the configuration.
data::LoadedSet load_validation(const config::RunConfig& config, const OpenedCheckpoint& opened) {
  const std::optional<tokenizer::Tokenizer> tokenizer = open_tokenizer(opened.folder);
  data::LoadSettings settings = data_settings(config, opened.model);
  show_progress(settings);
  if (!config.dataset.validation_path.empty()) {
    return data::load_split(data::Split::kValidation, settings, tokenizer ? &*tokenizer : nullptr);
  }
  if (config.dataset.validation_fraction > 0.0) {
    return *data::load(settings, tokenizer ? &*tokenizer : nullptr).validation;
  }
  throw bad_input(
      "eval: there is no validation set: set dataset.validation_path, or dataset.validation_fraction to hold out a "
      "part of dataset.path");
}

int run(const Arguments& arguments) {
  const config::Resolved resolved = load_configuration(arguments);
  const config::RunConfig& config = resolved.config;
  config::check_single_process(resolved);
  if (config.eval_iters == 0) {
    throw bad_input(
        "eval: eval_iters is 0, which means no evaluation: give the number of global batches, for example "
        "--eval_iters 1000000 for the whole set");
  }
  OpenedCheckpoint opened = open_checkpoint(resolved);
  train::ModelSource source{.base = opened.folder, .adapter = config.peft_adapter, .state = {}};
  if (arguments.has("checkpoint")) source = train::model_source(opened.folder, arguments.text("checkpoint"));

  const data::LoadedSet set = load_validation(config, opened);
  log::info("validation data: {}", set.summary.text());
  const data::EvalPlan plan(set.tokens, {.eval_iters = config.eval_iters,
                                         .global_batch_size = config.global_batch_size,
                                         .micro_batch_size = config.micro_batch_size,
                                         .seq_length = config.seq_length,
                                         .packed = config.packed_sequence});
  const Device device = train::choose_device(config.device);
  train::OpenModel model(source, {.device = device,
                                  .compute_dtype = train::choose_compute_dtype(config.precision_config, device),
                                  .max_tokens = plan.bounds().tokens,
                                  .max_positions = plan.bounds().max_seqlen});
  const train::Evaluation result = train::evaluate(model.stream(), model.memory(), plan);
  log::info("{} rows, {} trained tokens: loss {:.6f}, perplexity {:.4f}", plan.total_rows(), result.tokens, result.loss,
            std::exp(result.loss));
  if (arguments.has("json")) {
    nlohmann::ordered_json line;
    line["validation_loss"] = result.loss;
    line["validation_tokens"] = result.tokens;
    line["perplexity"] = std::exp(result.loss);
    fmt::print("{}\n", line.dump());
  }
  return 0;
}

}  // namespace

Command eval_command() {
  return {.name = "eval",
          .summary = "Loss and perplexity on the validation set",
          .details =
              "Of hf_path as it is (with peft_adapter when that is set), or of --checkpoint. At most eval_iters x\n"
              "global_batch_size rows, or packs with packed_sequence.",
          .options = {config_option(true),
                      {"checkpoint", "DIR", "a training checkpoint, a PEFT adapter or a Hugging Face folder", false},
                      {"json", "", "print the numbers as a last line of JSON"}},
          .takes_overrides = true,
          .run = run};
}

}  // namespace primus::cli
