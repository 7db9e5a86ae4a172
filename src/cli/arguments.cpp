#include "cli/arguments.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "config/nearest.h"

namespace primus::cli {
namespace {

std::string with_dashes(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

const Option* find_option(const Command& command, const std::string& name) {
  for (const Option& option : command.options) {
    if (option.name == with_dashes(name)) return &option;
  }
  return nullptr;
}

/// "-n" or "--max-new-tokens"
std::string typed(const Option& option) { return (option.name.size() == 1 ? "-" : "--") + option.name; }

bool is_letter_option(const Command& command, const std::string& word) {
  return word.size() == 2 && word[0] == '-' && find_option(command, word.substr(1)) != nullptr;
}

[[noreturn]] void refuse_unknown(const Command& command, const std::string& word) {
  std::vector<std::string> names;
  names.reserve(command.options.size());
  for (const Option& option : command.options) names.push_back(option.name);
  const auto first = word.find_first_not_of('-');
  const std::string name = first == std::string::npos ? word : with_dashes(word.substr(first));
  throw bad_input("{}: unknown option {}{} (see: primus-cli {} --help)", command.name, word,
                  config::did_you_mean(name, names), command.name);
}

}  // namespace

std::string Arguments::text(std::string_view name, const std::string& otherwise) const {
  const auto found = values_.find(std::string(name));
  return found == values_.end() ? otherwise : found->second;
}

std::int64_t Arguments::integer(std::string_view name, std::int64_t otherwise, std::int64_t least) const {
  const auto found = values_.find(std::string(name));
  if (found == values_.end()) return otherwise;
  const std::string& value = found->second;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least) {
    throw bad_input("{}{}: '{}' is not a whole number of at least {}", name.size() == 1 ? "-" : "--", name, value,
                    least);
  }
  return number;
}

double Arguments::number(std::string_view name, double otherwise) const {
  const auto found = values_.find(std::string(name));
  if (found == values_.end()) return otherwise;
  const std::string& value = found->second;
  double number = 0.0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    throw bad_input("--{}: '{}' is not a number", name, value);
  }
  return number;
}

Arguments parse_arguments(const Command& command, const std::vector<std::string>& words) {
  Arguments arguments;
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = is_letter_option(command, words[i]) ? "-" + words[i] : words[i];
    if (word.rfind("--", 0) != 0) {
      if (command.takes_overrides && !rest.empty()) {
        rest.push_back(word);  // the value of the key before it
        continue;
      }
      throw bad_input("{}: unexpected '{}'. Options begin with --; see: primus-cli {} --help", command.name, word,
                      command.name);
    }
    const auto equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
    const Option* option = find_option(command, name);
    if (option == nullptr) {
      if (!command.takes_overrides) refuse_unknown(command, word.substr(0, equals));
      rest.push_back(word);
      const bool has_value = equals == std::string::npos && i + 1 < words.size() && words[i + 1].rfind("--", 0) != 0;
      if (has_value) rest.push_back(words[++i]);
      continue;
    }
    if (arguments.has(option->name)) throw bad_input("{}: {} is given twice", command.name, typed(*option));
    std::string value;
    if (option->value.empty()) {
      if (equals != std::string::npos) throw bad_input("{}: {} takes no value", command.name, typed(*option));
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    } else {
      throw bad_input("{}: {} needs a value: {} {}", command.name, typed(*option), typed(*option), option->value);
    }
    arguments.values_.emplace(option->name, value);
  }
  for (const Option& option : command.options) {
    if (option.required && !arguments.has(option.name)) {
      throw bad_input("{}: {} {} is missing: {}", command.name, typed(option), option.value, option.help);
    }
  }
  arguments.overrides = config::parse_overrides(rest);
  return arguments;
}

Option config_option(bool required) { return {"config", "FILE", "the run's YAML file", required}; }

std::string help_of(const Command& command) {
  std::string text =
      fmt::format("primus-cli {}{}{}\n\n{}.\n", command.name, command.options.empty() ? "" : " [options]",
                  command.takes_overrides ? " [--key value …]" : "", command.summary);
  if (!command.details.empty()) text += "\n" + command.details + "\n";
  if (!command.options.empty()) text += "\nOptions:\n";
  for (const Option& option : command.options) {
    const std::string left = typed(option) + (option.value.empty() ? "" : " " + option.value);
    text += fmt::format("  {:<28} {}{}\n", left, option.help, option.required ? " (required)" : "");
  }
  if (command.takes_overrides) {
    text +=
        "\nEvery configuration key is an option as well, dotted where it is nested, and wins over the file:\n"
        "  --train_iters 100 --dataset.path rows.jsonl\nThe keys, their defaults and meaning: "
        "docs/reference-config.md\n";
  }
  return text;
}

}  // namespace primus::cli
