#include <fmt/core.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "config/show.h"

namespace primus::cli {
namespace {

int run(const Arguments& arguments) {
  const config::Resolved resolved = load_configuration(arguments);
  fmt::print("{}", arguments.has("explain") ? config::explain(resolved) : config::to_yaml(resolved.config));
  return 0;
}

}  // namespace

Command config_show_command() {
  return {.name = "config show",
          .summary = "Print the resolved configuration",
          .details = "",
          .options = {config_option(true), {"explain", "", "say of each value where it came from"}},
          .takes_overrides = true,
          .run = run};
}

}  // namespace primus::cli
