#pragma once

#include <string>

#include "tokenizer/value.h"

namespace primus::data {

/// {"role": role, "content": content}
tokenizer::Value make_message(std::string role, std::string content);

/// The messages of a chat, checked: {"role", "content", …} as they are, {"from", "value"} (ShareGPT) with the speaker
/// turned into a role. Content is a text, a list of {"type": "text"} parts, or null beside tool calls or reasoning.
/// Throws Error: `place`, `column` and the message's number (from 0).
tokenizer::List read_messages(const tokenizer::Value& list, const std::string& place, const std::string& column);

}  // namespace primus::data
