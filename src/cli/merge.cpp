#include "base/error.h"
#include "base/log.h"
#include "checkpoint/peft.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

int run(const Arguments& arguments) {
  const std::filesystem::path model =
      train::resolve_checkpoint(arguments.text("model"), train::CheckpointParts::kAll, "--model");
  const std::filesystem::path output = arguments.text("output");
  require_free(output);
  if (arguments.dry_run) {
    fmt::print("would merge {} into {} and write {}\n", arguments.text("adapter"), model.string(), output.string());
    return 0;
  }
  checkpoint::merge_adapter(model, arguments.text("adapter"), output);
  log::info("wrote {}", output.string());
  return 0;
}

}  // namespace

Command merge_command() {
  return {.name = "merge",
          .summary = "Merge a LoRA adapter into its base model's weights",
          .details = "The result is a Hugging Face folder in the base model's element type.",
          .options = {{"model", "DIR", "the base model: a folder or a hub id", true},
                      {"adapter", "DIR", "the PEFT adapter's folder", true},
                      {"output", "DIR", "the folder to write", true}},
          .run = run};
}

}  // namespace primus::cli
