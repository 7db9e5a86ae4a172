#include <fmt/core.h>

#include "cli/commands.h"
#include "config/show.h"

namespace primus::cli {
namespace {

int run(const Arguments& /*arguments*/) {
  fmt::print("{}", config::reference_markdown());
  return 0;
}

}  // namespace

Command config_reference_command() {
  return {.name = "config reference",
          .summary = "Print every configuration key with its type, default and meaning",
          .details = "docs/reference-config.md holds what this prints.",
          .options = {},
          .run = run};
}

}  // namespace primus::cli
