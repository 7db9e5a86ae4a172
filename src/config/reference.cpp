#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/schema.h"
#include "config/show.h"

namespace primus::config {
namespace {

std::string code(std::string_view text) { return fmt::format("`{}`", text); }

/// A default that is a value is code; one that is a phrase is prose.
std::string default_cell(const KeySpec& key) {
  return key.default_text.find(' ') == std::string::npos ? code(key.default_text) : key.default_text;
}

std::string name_cell(const KeySpec& key) {
  std::string cell = code(key.name);
  for (const std::string& alias : key.aliases) cell += ", " + code(alias);
  return cell;
}

std::string row(const KeySpec& key) {
  const std::string type = key.nullable ? key.type + ", null" : key.type;
  return fmt::format("| {} | {} | {} | {} |\n", name_cell(key), type, default_cell(key), key.meaning);
}

constexpr std::string_view kIntroduction =
    R"(# Configuration reference

Generated from the program; do not edit. `primus-cli config show --config F --explain`
prints each value of a run and where it came from. Command line overrides use the same names, dotted when nested:
`--train_iters 200`, `--dataset.path=train.jsonl`. A later layer wins: model preset, module preset, the file's
`overrides`, command line. `${NAME}` and `${NAME:default}` read environment variables (inside `[ ]` and `{ }` put
them in quotes); `extends: [file]` merges other files under this one.
)";

}  // namespace

std::string reference_markdown() {
  std::string text(kIntroduction);
  std::string section;
  for (const KeySpec& key : schema()) {
    if (key.section != section) {
      section = key.section;
      text += fmt::format("\n## {}\n\nStands {}.\n\n| key | values | default | meaning |\n|---|---|---|---|\n", section,
                          place_text(key.place));
    }
    text += row(key);
  }
  std::vector<std::string> foreign;
  for (const std::string& name : foreign_keys()) foreign.push_back(code(name));
  text += fmt::format(
      "\n## Accepted without effect\n\nKeys of Megatron Bridge, Megatron and Primus that have no meaning here. The log "
      "names those that a run gives.\n\n{}\n",
      fmt::join(foreign, ", "));
  return text;
}

}  // namespace primus::config
