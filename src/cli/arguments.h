#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace primus::cli {

/// One option of a command: `--name VALUE`, or `--name` alone when `value` is empty. A name of one letter is typed with
/// one dash: `-n VALUE`.
struct Option {
  std::string name;   // "max-new-tokens"; dashes and underscores are the same
  std::string value;  // what help calls its value, "N"; empty: a flag
  std::string help;
  bool required = false;
};

/// What was typed after a command.
class Arguments {
 public:
  bool has(std::string_view name) const { return values_.count(std::string(name)) != 0; }
  std::string text(std::string_view name, const std::string& otherwise = "") const;
  /// Throws Error when the value is not a whole number of at least `least`.
  std::int64_t integer(std::string_view name, std::int64_t otherwise, std::int64_t least = 0) const;
  double number(std::string_view name, double otherwise) const;

  std::map<std::string, std::string> values_;  // by option name; flags have an empty value
  std::vector<config::Override> overrides;     // `--key value` that are no options of the command
  bool dry_run = false;
  bool debug = false;
};

/// A command of primus-cli. `run` returns the exit status; it throws Error for what the user can mend.
struct Command {
  std::string name;     // "train posttrain"
  std::string summary;  // one line
  std::string details;  // more for its own help, may be empty
  std::vector<Option> options;
  bool takes_overrides = false;  // every configuration key is an option too
  int (*run)(const Arguments&) = nullptr;
};

/// Splits what follows a command's name. Throws Error naming the unknown option and the nearest known one, a missing
/// value, or a required option that is absent.
Arguments parse_arguments(const Command& command, const std::vector<std::string>& words);

/// Help of one command.
std::string help_of(const Command& command);

/// Options that several commands have.
Option config_option(bool required);

}  // namespace primus::cli
