#include "train/disk_plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/hf.h"
#include "checkpoint/peft.h"
#include "checkpoint/training_state.h"
#include "model/weights.h"
#include "train/memory_plan.h"
#include "train/trainer.h"

namespace primus::train {
namespace {

namespace fs = std::filesystem;

/// How many checkpoints the rest of a run saves: at every save_interval, and at its end.
std::int64_t checkpoints_ahead(const config::RunConfig& config, std::int64_t iterations) {
  const std::int64_t last = config.train_iters, interval = config.save_interval;
  if (iterations >= last) return 0;
  if (interval == 0) return 1;
  return last / interval - iterations / interval + (last % interval == 0 ? 0 : 1);
}

/// nullopt: not known. Some network file systems tell nothing, or zeros.
std::optional<fs::space_info> space_of(const fs::path& folder) {
  constexpr auto kUnknown = std::numeric_limits<std::uintmax_t>::max();
  std::error_code code;
  const fs::space_info space = fs::space(folder, code);
  if (code || space.capacity == 0 || space.capacity == kUnknown) return std::nullopt;
  return space;
}

bool on_one_file_system(const fs::path& a, const fs::path& b) {
  struct stat of_a = {};
  struct stat of_b = {};
  return ::stat(a.c_str(), &of_a) == 0 && ::stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev;
}

/// What the system keeps for root counts as free here: whoever may use it must not be refused.
void require_room_for_one(const DiskPlan& plan, const fs::path& folder, const fs::space_info& space) {
  if (plan.checkpoints == 0 || plan.checkpoint <= space.free) return;
  throw bad_input(
      "save: a checkpoint of this run takes {}, and the file system of {} has {} left: free some, or set save to a "
      "folder elsewhere",
      format_bytes(plan.checkpoint), folder.string(), format_bytes(space.free));
}

void warn_of_the_rest(const DiskPlan& plan, const fs::path& folder, const fs::space_info& space) {
  if (plan.total() <= space.available) return;
  log::warning(
      "{} are going to be written, and the file system of {} has {} left: the run fails when that is used up. Free "
      "some, or {}",
      plan.summary(), folder.string(), format_bytes(space.available),
      plan.checkpoints > 0 ? "keep fewer checkpoints (most_recent_k), or save elsewhere (save)"
                           : "set workspace to a folder elsewhere");
}

}  // namespace

std::string DiskPlan::summary() const {
  std::string text;
  if (checkpoints > 0) {
    text = fmt::format("{} checkpoint{} of {}", checkpoints, checkpoints == 1 ? "" : "s", format_bytes(checkpoint));
  }
  if (result > 0) text += fmt::format("{}{}/ {}", text.empty() ? "" : ", ", result_name, format_bytes(result));
  return text.empty() ? "nothing" : fmt::format("{}: {} in all", text, format_bytes(total()));
}

DiskPlan plan_disk(const config::RunConfig& config, const model::ModelConfig& model,
                   const model::DecoderOptions& options, std::int64_t iterations, std::int64_t states) {
  Arena arena = Arena::measuring(Device{});
  const model::Weights weights(model, options, arena);
  DiskPlan plan{.checkpoint = checkpoint::state_bytes(weights.registry),
                .checkpoints = checkpoints_ahead(config, iterations)};
  if (config.most_recent_k > 0) {
    const std::int64_t at_a_time = std::max<std::int64_t>(config.most_recent_k + 1 - states, 1);
    plan.checkpoints = std::min(plan.checkpoints, at_a_time);
  }
  if (!config.export_hf) return plan;
  plan.result_name = options.lora ? "adapter" : "hf";
  plan.result =
      options.lora ? checkpoint::adapter_bytes(weights.registry) : checkpoint::model_bytes(weights.registry, model);
  return plan;
}

void check_disk(const config::RunConfig& config, const DiskPlan& plan) {
  const fs::path save = checkpoint_directory(config), run = config.run_directory();
  DiskPlan here = plan, there{.result = plan.result, .result_name = plan.result_name};
  if (on_one_file_system(save, run)) {
    there.result = 0;
  } else {
    here.result = 0;
  }
  if (const auto space = space_of(save)) {
    require_room_for_one(here, save, *space);
    warn_of_the_rest(here, save, *space);
  }
  if (const auto space = space_of(run)) warn_of_the_rest(there, run, *space);
}

}  // namespace primus::train
