#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "config/nearest.h"
#include "ops/cpu_backend.h"

namespace primus::cli {
namespace {

std::vector<Command> all_commands() {
  return {train_posttrain_command(), config_show_command(),    config_reference_command(),
          data_preview_command(),    tokenize_command(),       eval_command(),
          generate_command(),        merge_command(),          export_command(),
          benchmark_train_command(), benchmark_gemm_command(), benchmark_attention_command()};
}

constexpr const char* kUsage =
    "primus-cli [--debug] [--dry-run] [--version] [direct] [--] <command> [options]\n\n"
    "Fine-tunes language models: reads a Hugging Face checkpoint and a data set, trains all weights (SFT) or LoRA\n"
    "adapters, and writes a checkpoint or a PEFT adapter that other tools load.\n";

std::string line_of(const Command& command) { return fmt::format("  {:<20} {}\n", command.name, command.summary); }

std::string usage() {
  std::string text = kUsage;
  text += "\nCommands:\n";
  for (const Command& command : all_commands()) text += line_of(command);
  text +=
      "\nGlobal options, before the command or behind it:\n"
      "  --debug              log more\n"
      "  --dry-run            print what would be done and do nothing\n"
      "  --version            print the version (before it only)\n"
      "  --help               this text; behind a command, that command's\n"
      "\nModes: direct runs on this host, and is what runs when no mode is named.\n"
      "\nA first run:  primus-cli direct train posttrain --config examples/quickstart/lora.yaml\n";
  return text;
}

std::string joined(const std::vector<std::string>& words, std::size_t from, std::size_t count) {
  std::string text;
  for (std::size_t i = from; i < std::min(words.size(), from + count); ++i)
    text += (text.empty() ? "" : " ") + words[i];
  return text;
}

bool is_option(const std::string& word) { return !word.empty() && word[0] == '-'; }

[[noreturn]] void refuse_command(const std::vector<std::string>& words, std::size_t at) {
  std::vector<std::string> names;
  std::string list;
  for (const Command& command : all_commands()) {
    names.push_back(command.name);
    list += (list.empty() ? "" : ", ") + command.name;
  }
  std::size_t count = 1;
  if (at + 1 < words.size() && !is_option(words[at + 1])) count = 2;
  const std::string typed = joined(words, at, count);
  throw bad_input("'{}' is neither a mode (direct) nor a command ({}){} (see: primus-cli --help)", typed, list,
                  config::did_you_mean(typed, names));
}

int run(const std::vector<std::string>& words) {
  bool debug = false;
  bool dry_run = false;
  std::size_t at = 0;
  for (; at < words.size() && is_option(words[at]) && words[at] != "--"; ++at) {
    if (words[at] == "--help" || words[at] == "-h") {
      fmt::print("{}", usage());
      return 0;
    }
    if (words[at] == "--version") {
      fmt::print("primus {}\n", PRIMUS_VERSION);
      return 0;
    }
    if (words[at] == "--debug") {
      debug = true;
    } else if (words[at] == "--dry-run") {
      dry_run = true;
    } else {
      throw bad_input("unknown option {} before the command. See: primus-cli --help", words[at]);
    }
  }
  if (at < words.size() && words[at] == "direct") ++at;
  if (at < words.size() && words[at] == "--") ++at;
  if (at == words.size() || words[at] == "help" || words[at] == "--help" || words[at] == "-h") {
    fmt::print("{}", usage());
    return at == words.size() ? static_cast<int>(ExitCode::kBadInput) : 0;
  }

  for (const Command& command : all_commands()) {
    const std::size_t length = static_cast<std::size_t>(std::count(command.name.begin(), command.name.end(), ' ')) + 1;
    if (joined(words, at, length) != command.name) continue;
    std::vector<std::string> rest(words.begin() + static_cast<std::ptrdiff_t>(at + length), words.end());
    if (std::find(rest.begin(), rest.end(), "--help") != rest.end() ||
        std::find(rest.begin(), rest.end(), "-h") != rest.end()) {
      fmt::print("{}", help_of(command));
      return 0;
    }
    debug = std::erase(rest, "--debug") > 0 || debug;
    dry_run = std::erase(rest, "--dry-run") > 0 || dry_run;
    if (debug) log::set_level(log::Level::kDebug);
    Arguments arguments = parse_arguments(command, rest);
    arguments.dry_run = dry_run;
    arguments.debug = debug;
    ops::use_cpu_backend();
    return command.run(arguments);
  }
  // `train`, `config`, `benchmark` alone: say what can follow
  std::string following;
  for (const Command& command : all_commands()) {
    if (command.name.rfind(words[at] + " ", 0) == 0) following += line_of(command);
  }
  const bool alone = at + 1 == words.size() || is_option(words[at + 1]);
  if (!following.empty() && alone) {
    const bool asked = at + 1 < words.size() && (words[at + 1] == "--help" || words[at + 1] == "-h");
    fmt::print("{}", following);
    return asked ? 0 : static_cast<int>(ExitCode::kBadInput);
  }
  refuse_command(words, at);
}

}  // namespace
}  // namespace primus::cli

int main(int argc, char** argv) {
  using primus::ExitCode;
  try {
    return primus::cli::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const primus::Error& error) {
    primus::log::error("{}", error.what());
    return static_cast<int>(error.code());
  } catch (const primus::BugError& error) {
    primus::log::error("this is a bug in Primus, please report it with the command and this line: {}", error.what());
  } catch (const std::bad_alloc&) {
    primus::log::error("out of memory on the host");
    return static_cast<int>(ExitCode::kHostLacks);
  } catch (const std::exception& error) {
    primus::log::error("unexpected: {}. Please report it with the command", error.what());
  }
  return static_cast<int>(ExitCode::kRunFailed);
}
