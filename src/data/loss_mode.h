#pragma once

namespace primus::data {

/// What of a row is trained. `text` rows are trained whole and `input_ids` rows by their labels, whatever the mode.
enum class LossMode {
  kDefault,     // kAssistant for chats, kCompletion for pairs
  kAssistant,   // every assistant turn, its end-of-turn token included
  kLastTurn,    // the last assistant turn
  kCompletion,  // a pair's completion; the last assistant turn of a chat
  kFull,        // every token
};

}  // namespace primus::data
