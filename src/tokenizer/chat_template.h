#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "tokenizer/value.h"

namespace primus::tokenizer {

struct RenderedChat {
  std::string text;
  /// Ascending, not overlapping.
  std::vector<TrainedSpan> trained;
};

/// Bounds of one rendering; passing one is an Error.
struct RenderLimits {
  std::size_t steps = 20'000'000;   // evaluated nodes
  std::size_t output = 512u << 20;  // bytes, also of every intermediate text
  int depth = 200;                  // nested expressions, loops and macro calls
};

/// A Hugging Face chat template: Jinja as transformers runs it (trim_blocks, lstrip_blocks, loop controls, immutable
/// sandbox, its tojson, raise_exception, strftime_now, {% generation %}). Const members may be called from many
/// threads.
class ChatTemplate {
 public:
  /// Compiles. Throws Error with `name` and the template's line. `special_tokens` is a dict as
  /// Tokenizer::special_tokens_map() gives; `markers` are the texts of all added tokens (they end turns).
  ChatTemplate(const std::string& source, const std::string& name, Value special_tokens = Dict{},
               std::vector<std::string> markers = {});
  /// The template of a checkpoint. `choice` empty: the checkpoint's own; else the name of a built-in one or a file.
  /// Throws Error naming the built-in ones when the checkpoint has none.
  static ChatTemplate of(const Tokenizer& tokenizer, const std::string& choice = "");
  /// chatml, llama3, mistral, …
  static std::vector<std::string> built_in_names();
  static ChatTemplate built_in(const std::string& name, Value special_tokens = Dict{},
                               std::vector<std::string> markers = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// `messages` is a list of dicts with "role" and "content" (and tool_calls, …), `tools` a list or null, `extra` a
  /// dict of further variables (enable_thinking, documents). Throws Error: the template's line and what went wrong
  /// there, or what the template itself raised.
  std::string render_text(const Value& messages, const Value& tools = {}, bool add_generation_prompt = false,
                          const Value& extra = Dict{}) const;

  /// The text and what of it is trained: what {% generation %} blocks wrote when the template has them; else, for
  /// each message of role "assistant", from the end of what a generation prompt would have written through its
  /// end-of-turn token. Found by rendering the conversation up to that message with a generation prompt, which must
  /// begin the whole text; where it does not (templates that render past turns in another way), from the part that the
  /// template wrote for that message, which must begin with the generation prompt's header. Never by looking for
  /// strings in what people wrote. Throws Error naming the message when neither holds.
  RenderedChat render(const Value& messages, const Value& tools = {}, const Value& extra = Dict{}) const;

  bool has_generation_blocks() const;
  const std::string& name() const;
  const std::string& source() const;
  void set_limits(const RenderLimits& limits);

  struct Parts;

 private:
  explicit ChatTemplate(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// Only the spans of the last trained message (loss mode last_turn).
std::vector<TrainedSpan> last_turn(const std::vector<TrainedSpan>& spans);

}  // namespace primus::tokenizer
