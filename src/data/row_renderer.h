#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/loss_mode.h"
#include "data/row_format.h"
#include "data/token_set.h"
#include "tokenizer/tokenizer.h"

namespace primus::data {

class ChatRenderer;

/// A row as the model sees it.
struct RenderedRow {
  TokenRow tokens;
  std::int64_t cut_tokens = 0;  // so many were cut off its end
  bool is_trained = false;      // some label after the first token is trained
};

/// Turns rows into ids and labels. The mask comes out of the rendering (chat_template.h), never out of looking for
/// strings in the text.
///
/// Chats go through the chat template, with the row's tools (through the checkpoint's tool_use template when it has
/// one). Pairs do so as a user turn and an assistant turn (an Alpaca row's user turn is the instruction, an empty line
/// and the input) when there is a chat template. Without one, or with chat_template "none", a pair of texts is joined
/// as it stands, as TRL does it (only an Alpaca row gets an empty line before its output): what the tokenizer adds in
/// front, the prompt, the completion, the end-of-text token. Its prompt has exactly the ids that generation will give
/// it. `text` rows get what the tokenizer adds and the end-of-text token, and are trained whole. What is trained of the
/// others: loss_mode.h. A row longer than seq_length loses its right end.
///
/// Const members may be called from many threads.
class RowRenderer {
 public:
  struct Settings {
    LossMode loss_mode = LossMode::kDefault;
    std::string chat_template;  // as LoadSettings::chat_template
    std::int64_t seq_length = 2048;
    std::int64_t vocabulary_size = 0;  // of the model; 0: not checked
  };

  /// `tokenizer` may be null (then only input_ids rows can be rendered) and must outlive this. Throws Error when the
  /// chat template is missing though named, or does not compile.
  RowRenderer(Settings settings, const tokenizer::Tokenizer* tokenizer);
  ~RowRenderer();
  RowRenderer(RowRenderer&&) noexcept;

  /// Throws Error that begins with `place`.
  RenderedRow render(Example example, const std::string& place) const;
  /// The same before anything is cut off.
  TokenRow render_whole(Example example, const std::string& place) const;

  /// A digest of all that decides what a row becomes, the tokenizer excepted: the settings and the chat template, and
  /// the day when the template asks for it.
  std::string fingerprint() const;

  /// One phrase on how rows of this format are rendered, for the summary: "through the chat template".
  std::string describe(RowFormat format) const;

 private:
  TokenRow tokenize(Example& example) const;
  TokenRow render_plain_pair(const Example& example) const;
  TokenRow render_text(const Example& example) const;
  void append_end(TokenRow& row) const;
  void check_ids(const TokenRow& row) const;

  Settings settings_;
  const tokenizer::Tokenizer* tokenizer_ = nullptr;
  std::unique_ptr<const ChatRenderer> chat_;  // null without a chat template
};

}  // namespace primus::data
