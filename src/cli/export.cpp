#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "train/open_model.h"

namespace primus::cli {
namespace {

int run(const Arguments& arguments) {
  const std::string checkpoint = arguments.text("checkpoint");
  const std::string output = arguments.text("output");
  require_free(output);
  if (arguments.dry_run) {
    fmt::print("would export {} to {}\n", checkpoint, output);
    return 0;
  }
  const std::string what = train::export_state(checkpoint, output);
  log::info("wrote the {} {}", what, output);
  return 0;
}

}  // namespace

Command export_command() {
  return {.name = "export",
          .summary = "Write a training checkpoint as a Hugging Face model or a PEFT adapter",
          .details = "An SFT run gives a model, a LoRA run an adapter.",
          .options = {{"checkpoint", "DIR", "an iter_… folder, or a folder of them or of the run: the newest", true},
                      {"output", "DIR", "the folder to write", true}},
          .run = run};
}

}  // namespace primus::cli
