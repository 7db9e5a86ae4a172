#pragma once

#include <ctime>
#include <string>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/jinja/ast.h"

namespace primus::tokenizer {

/// One rendering and where its parts came from.
struct TracedRendering {
  std::string text;
  std::vector<TrainedSpan> generated;  // by {% generation %}
  bool generated_elsewhere = false;    // also where the place in the text is not known
  std::vector<ByteSpan> written;       // by the loop over the messages, one a message
};

struct ChatTemplate::Parts {
  struct Program {
    std::string purpose;
    jinja::Template code;
  };
  std::string name;
  std::string source;
  std::vector<Program> programs;  // "default" first, "tool_use" when there is one
  Value special_tokens;
  std::vector<std::string> markers;
  RenderLimits limits;

  const jinja::Template& program_for(const Value& tools) const;
};

/// What all renderings of one conversation share.
struct Conversation {
  const ChatTemplate::Parts& parts;
  const Value& tools;
  const Value& extra;
  std::time_t now;

  /// Throws Error with the template's name and line.
  TracedRendering render(const Value& messages, bool add_generation_prompt) const;
};

/// A list of dicts, each a copy of its own, with the names under which templates look for a message's reasoning.
/// Throws Error naming the message that is none.
Value prepared_messages(const Value& messages);

/// The spans of the assistant's turns of `whole`, the rendering of `messages` (prepared) without a generation prompt.
std::vector<TrainedSpan> assistant_spans(const Conversation& conversation, const Value& messages,
                                         const TracedRendering& whole);

}  // namespace primus::tokenizer
