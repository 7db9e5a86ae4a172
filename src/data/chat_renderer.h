#pragma once

#include <string>

#include "data/loss_mode.h"
#include "data/row_format.h"
#include "data/token_set.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace primus::data {

/// Chats, and pairs as chats, to ids and labels through a chat template; see RowRenderer.
class ChatRenderer {
 public:
  /// `choice` as LoadSettings::chat_template, not "none". Throws Error when the checkpoint has no template (naming the
  /// built-in ones) or it does not compile. `tokenizer` must outlive this.
  ChatRenderer(const tokenizer::Tokenizer& tokenizer, const std::string& choice, LossMode loss_mode);

  /// Throws Error: what the template could not render.
  TokenRow render(const Example& example) const;

  /// A digest of the templates, and of the day when they write it.
  std::string fingerprint() const;

  /// Where the template was found, for the summary.
  const std::string& name() const { return template_.name(); }

 private:
  TokenRow tokenize(const Example& example) const;
  std::vector<tokenizer::TrainedSpan> choose(const Example& example,
                                             const std::vector<tokenizer::TrainedSpan>& assistant) const;

  const tokenizer::Tokenizer* tokenizer_;
  LossMode loss_mode_;
  tokenizer::ChatTemplate template_;
};

}  // namespace primus::data
