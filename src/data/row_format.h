#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/value.h"

namespace primus::data {

/// What a row may look like. The name in brackets is what `dataset.format` says.
enum class RowFormat {
  kInputIds,          // [input_ids] {"input_ids": […], "labels": […]?}: -100 is not trained; no labels: all are
  kMessages,          // [messages] {"messages": [{"role", "content", …}], "tools": […]?}
  kConversations,     // [conversations] {"conversations": [{"from", "value"}], "system"?, "tools"?} (ShareGPT)
  kInstruction,       // [instruction] {"instruction", "input"?, "output", "system"?} (Alpaca)
  kPromptCompletion,  // [prompt_completion] {"prompt", "completion", "system"?}: texts, or lists of messages
  kInputOutput,       // [input_output] {"input", "output", "system"?}
  kText,              // [text] {"text"}
};

/// Our name of a column -> the file's.
using Columns = std::map<std::string, std::string>;

std::string_view name_of(RowFormat format);
/// Throws Error listing the names when there is none of that name ("alpaca" and "sharegpt" are taken too).
RowFormat format_named(const std::string& name);
/// Throws Error when a key is no column of any format.
void check_columns(const Columns& columns);

/// The format of a row: the first of the list above whose columns it has, those that `columns` names before others.
/// Throws Error: `place` (file:line), the row's keys, and what each format wants.
RowFormat find_format(const tokenizer::Value& row, const Columns& columns, const std::string& place);

/// A row, read and checked. Which parts are filled hangs on the format.
struct Example {
  RowFormat format = RowFormat::kText;

  // chats, and pairs seen as a chat
  tokenizer::List messages;
  tokenizer::Value tools;               // a list, or null
  tokenizer::Value template_variables;  // the row's chat_template_kwargs, or an empty dict
  std::size_t completion_begins = 0;    // pairs: the first message of the completion

  // pairs of texts
  bool is_pair = false;        // prompt+completion, input+output, instruction+output
  bool is_plain_pair = false;  // … of texts: `prompt` and `text` hold them too
  std::string prompt;          // an Alpaca row's instruction, an empty line, its input
  std::string text;            // the completion, or the text of a text row

  // input_ids rows
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> labels;  // as long as ids
};

/// Reads one row of a file whose format is `format`. ids and labels must be below `vocabulary_size` (0: not checked).
/// ShareGPT's speakers become roles: human and user; gpt, chatgpt, bing, bard, bot, model, assistant and function_call;
/// system; developer; tool, observation and function_response. Roles of messages are system, developer, user,
/// assistant, tool, function and ipython. What else a message holds (tool_calls) is kept.
/// Throws Error: `place`, what was wrong and what is expected.
Example read_example(const tokenizer::Value& row, RowFormat format, const Columns& columns,
                     std::int64_t vocabulary_size, const std::string& place);

}  // namespace primus::data
