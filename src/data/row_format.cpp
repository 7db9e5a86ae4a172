#include "data/row_format.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "data/messages.h"
#include "data/token_set.h"

namespace primus::data {
namespace {

using tokenizer::Value;

struct FormatColumns {
  RowFormat format;
  std::string_view name;
  std::vector<std::string> required;
  std::vector<std::string> optional;
};

/// In the order in which they are tried.
const std::vector<FormatColumns>& formats() {
  static const std::vector<FormatColumns> all = {
      {RowFormat::kInputIds, "input_ids", {"input_ids"}, {"labels"}},
      {RowFormat::kMessages, "messages", {"messages"}, {"tools", "chat_template_kwargs"}},
      {RowFormat::kConversations, "conversations", {"conversations"}, {"system", "tools", "chat_template_kwargs"}},
      {RowFormat::kInstruction, "instruction", {"instruction", "output"}, {"input", "system", "chat_template_kwargs"}},
      {RowFormat::kPromptCompletion,
       "prompt_completion",
       {"prompt", "completion"},
       {"system", "tools", "chat_template_kwargs"}},
      {RowFormat::kInputOutput, "input_output", {"input", "output"}, {"system", "chat_template_kwargs"}},
      {RowFormat::kText, "text", {"text"}, {}},
  };
  return all;
}

const FormatColumns& columns_of(RowFormat format) {
  return *std::find_if(formats().begin(), formats().end(), [&](const auto& f) { return f.format == format; });
}

/// The row's value of our column `name`, or nullptr when there is none or it is null.
const Value* find(const Value& row, const Columns& columns, const std::string& name) {
  const auto mapped = columns.find(name);
  const Value* value = row.find(mapped == columns.end() ? name : mapped->second);
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool has_columns(const Value& row, const Columns& columns, const FormatColumns& format) {
  return std::all_of(format.required.begin(), format.required.end(),
                     [&](const std::string& name) { return find(row, columns, name) != nullptr; });
}

const FormatColumns* match(const Value& row, const Columns& columns) {
  const auto is_mapped = [&](const std::string& name) { return columns.contains(name); };
  for (const FormatColumns& format : formats()) {
    const bool chosen = std::any_of(format.required.begin(), format.required.end(), is_mapped);
    if (chosen && has_columns(row, columns, format)) return &format;
  }
  for (const FormatColumns& format : formats()) {
    if (has_columns(row, columns, format)) return &format;
  }
  return nullptr;
}

std::string keys_of(const Value& row) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : row.as_dict()) keys.push_back(value.is_null() ? key + " (null)" : key);
  if (keys.empty()) return "none";
  constexpr std::size_t kMost = 20;
  if (keys.size() > kMost) {
    keys.resize(kMost);
    keys.emplace_back("…");
  }
  return fmt::format("{}", fmt::join(keys, ", "));
}

std::string unmapped(const Value& row, const Columns& columns) {
  std::string text;
  for (const auto& [ours, theirs] : columns) {
    if (row.find(theirs) == nullptr) {
      text += fmt::format("; dataset.columns maps {} to \"{}\", which the row lacks", ours, theirs);
    }
  }
  return text;
}

void require_dict(const Value& row, const std::string& place) {
  if (!row.is_dict()) throw bad_input("{}: a row must be a JSON object, this one is {}", place, row.kind_name());
}

/// Reads columns of one row; its errors say where and what.
class RowColumns {
 public:
  RowColumns(const Value& row, const Columns& columns, const std::string& place)
      : row_(row), columns_(columns), place_(place) {}

  const Value* find(const std::string& name) const { return data::find(row_, columns_, name); }
  const Value& at(const std::string& name) const { return *find(name); }

  std::string text(const std::string& name) const {
    const Value* value = find(name);
    if (value == nullptr) return "";
    if (!value->is_string()) {
      throw bad_input("{}: {} must be a text, it is {}", place_, shown(name), value->kind_name());
    }
    return value->as_string();
  }

  std::vector<std::int32_t> ids(const std::string& name, std::int64_t vocabulary_size, bool may_be_untrained) const {
    const Value& list = at(name);
    if (!list.is_list()) {
      throw bad_input("{}: {} must be a list of token ids, it is {}", place_, shown(name), list.kind_name());
    }
    const std::int64_t end = vocabulary_size > 0 ? vocabulary_size : std::numeric_limits<std::int32_t>::max();
    std::vector<std::int32_t> ids;
    ids.reserve(list.as_list().size());
    for (const Value& item : list.as_list()) {
      if (!item.is_int()) {
        throw bad_input("{}: {}[{}] must be a token id, it is {}", place_, shown(name), ids.size(), item.kind_name());
      }
      const std::int64_t id = item.as_int();
      if ((id < 0 || id >= end) && !(may_be_untrained && id == kNotTrained)) {
        throw bad_input("{}: {}[{}] is {}, out of the vocabulary: ids go from 0 to {}{}", place_, shown(name),
                        ids.size(), id, end - 1, may_be_untrained ? ", and -100 is not trained" : "");
      }
      ids.push_back(static_cast<std::int32_t>(id));
    }
    return ids;
  }

  /// A list, a JSON text of a list, or null.
  Value tools() const {
    const Value* tools = find("tools");
    if (tools == nullptr || (tools->is_string() && tools->as_string().empty())) return {};
    Value list = tools->is_string() ? tokenizer::parse_json(tools->as_string(), place_ + ": tools") : *tools;
    if (list.is_null()) return {};
    if (!list.is_list()) {
      throw bad_input("{}: tools must be a list of function descriptions, it is {}", place_, list.kind_name());
    }
    return list.as_list().empty() ? Value() : list;
  }

  Value template_variables() const {
    const Value* variables = find("chat_template_kwargs");
    if (variables == nullptr) return tokenizer::Dict{};
    if (!variables->is_dict()) {
      throw bad_input("{}: chat_template_kwargs must be an object, it is {}", place_, variables->kind_name());
    }
    return *variables;
  }

  const std::string& place() const { return place_; }

  /// The file's name of our column.
  std::string shown(const std::string& name) const {
    const auto mapped = columns_.find(name);
    return mapped == columns_.end() ? name : mapped->second;
  }

 private:
  const Value& row_;
  const Columns& columns_;
  const std::string& place_;
};

void read_ids(const RowColumns& row, std::int64_t vocabulary_size, Example& out) {
  out.ids = row.ids("input_ids", vocabulary_size, false);
  if (out.ids.empty()) throw bad_input("{}: {} is empty", row.place(), row.shown("input_ids"));
  out.labels = row.find("labels") == nullptr ? out.ids : row.ids("labels", vocabulary_size, true);
  if (out.labels.size() != out.ids.size()) {
    throw bad_input(
        "{}: {} has {} ids and {} has {}; they must be equally many (the label of a token stands at its "
        "own place)",
        row.place(), row.shown("input_ids"), out.ids.size(), row.shown("labels"), out.labels.size());
  }
}

void add_system(const RowColumns& row, Example& out) {
  const std::string system = row.text("system");
  if (system.empty()) return;
  if (!out.messages.empty() && out.messages[0].find("role")->as_string() == "system") return;
  out.messages.insert(out.messages.begin(), make_message("system", system));
}

void read_chat(const RowColumns& row, const std::string& column, Example& out) {
  out.messages = read_messages(row.at(column), row.place(), row.shown(column));
  if (out.format == RowFormat::kConversations) add_system(row, out);
}

void read_pair(const RowColumns& row, const std::string& prompt, const std::string& completion, Example& out) {
  out.is_pair = true;
  const Value& first = row.at(prompt);
  const Value& second = row.at(completion);
  if (first.is_list() || second.is_list()) {
    if (!first.is_list() || !second.is_list()) {
      throw bad_input("{}: {} and {} must both be texts or both be lists of messages", row.place(), row.shown(prompt),
                      row.shown(completion));
    }
    out.messages = read_messages(first, row.place(), row.shown(prompt));
    add_system(row, out);
    out.completion_begins = out.messages.size();
    const tokenizer::List answer = read_messages(second, row.place(), row.shown(completion));
    out.messages.insert(out.messages.end(), answer.begin(), answer.end());
    return;
  }
  out.is_plain_pair = true;
  out.prompt = row.text(prompt);
  if (out.format == RowFormat::kInstruction) {
    const std::string input = row.text("input");
    if (!input.empty()) out.prompt += (out.prompt.empty() ? "" : "\n\n") + input;
  }
  out.text = row.text(completion);
  out.messages = {make_message("user", out.prompt), make_message("assistant", out.text)};
  add_system(row, out);
  out.completion_begins = out.messages.size() - 1;
  const std::string system = row.text("system");
  if (!system.empty()) out.prompt = system + "\n\n" + out.prompt;
}

}  // namespace

std::string_view name_of(RowFormat format) { return columns_of(format).name; }

RowFormat format_named(const std::string& name) {
  if (name == "alpaca") return RowFormat::kInstruction;
  if (name == "sharegpt") return RowFormat::kConversations;
  std::vector<std::string_view> names;
  for (const FormatColumns& format : formats()) {
    if (format.name == name) return format.format;
    names.push_back(format.name);
  }
  throw bad_input("dataset.format: \"{}\" is no format; there are {}", name, fmt::join(names, ", "));
}

void check_columns(const Columns& columns) {
  std::vector<std::string> known;
  for (const FormatColumns& format : formats()) {
    known.insert(known.end(), format.required.begin(), format.required.end());
    known.insert(known.end(), format.optional.begin(), format.optional.end());
  }
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  for (const auto& [ours, theirs] : columns) {
    if (!std::binary_search(known.begin(), known.end(), ours)) {
      throw bad_input(
          "dataset.columns: \"{}\" is no column of any format (our name comes first, then the file's: "
          "prompt: question); there are {}",
          ours, fmt::join(known, ", "));
    }
  }
}

RowFormat find_format(const Value& row, const Columns& columns, const std::string& place) {
  require_dict(row, place);
  if (const FormatColumns* format = match(row, columns)) return format->format;
  std::vector<std::string> wanted;
  for (const FormatColumns& format : formats()) wanted.push_back(fmt::format("{}", fmt::join(format.required, "+")));
  throw bad_input(
      "{}: no known row format: the row has {}{}; expected one of {}. Other names are mapped with "
      "dataset.columns (prompt: question, completion: answer)",
      place, keys_of(row), unmapped(row, columns), fmt::join(wanted, ", "));
}

Example read_example(const Value& row, RowFormat format, const Columns& columns, std::int64_t vocabulary_size,
                     const std::string& place) {
  require_dict(row, place);
  if (!has_columns(row, columns, columns_of(format))) {
    const FormatColumns* other = match(row, columns);
    throw bad_input(
        "{}: a row of format {} needs {}; this one has {}{}{}", place, name_of(format),
        fmt::join(columns_of(format).required, " and "), keys_of(row),
        other == nullptr ? "" : fmt::format(" (it looks like {}; all rows of a file have one format)", other->name),
        unmapped(row, columns));
  }
  const RowColumns cells(row, columns, place);
  Example example;
  example.format = format;
  switch (format) {
    case RowFormat::kInputIds:
      read_ids(cells, vocabulary_size, example);
      return example;
    case RowFormat::kText:
      example.text = cells.text("text");
      return example;
    case RowFormat::kMessages:
      read_chat(cells, "messages", example);
      break;
    case RowFormat::kConversations:
      read_chat(cells, "conversations", example);
      break;
    case RowFormat::kInstruction:
      read_pair(cells, "instruction", "output", example);
      break;
    case RowFormat::kPromptCompletion:
      read_pair(cells, "prompt", "completion", example);
      break;
    case RowFormat::kInputOutput:
      read_pair(cells, "input", "output", example);
      break;
  }
  example.tools = cells.tools();
  example.template_variables = cells.template_variables();
  return example;
}

}  // namespace primus::data
