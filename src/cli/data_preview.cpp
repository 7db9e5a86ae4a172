#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/terminal_text.h"
#include "data/preview.h"

namespace primus::cli {
namespace {

/// What a stretch of a row is to the training. Special tokens are those of the tokenizer.
enum class Part { kContext, kTrained, kSpecialContext, kSpecialTrained, kTruncated };

/// What stands before and behind a stretch: colours on a terminal, brackets elsewhere.
struct Marks {
  const char* before;
  const char* after;
};

Marks marks_of(Part part, bool colours) {
  switch (part) {
    case Part::kContext:
      return colours ? Marks{"\x1b[90m", "\x1b[0m"} : Marks{"", ""};
    case Part::kTrained:
      return colours ? Marks{"\x1b[32m", "\x1b[0m"} : Marks{"⟦", "⟧"};
    case Part::kSpecialContext:
      return colours ? Marks{"\x1b[35m", "\x1b[0m"} : Marks{"", ""};
    case Part::kSpecialTrained:
      return colours ? Marks{"\x1b[1;92m", "\x1b[0m"} : Marks{"⟦", "⟧"};
    case Part::kTruncated:
      return colours ? Marks{"\x1b[9;31m", "\x1b[0m"} : Marks{"⟨cut: ", "⟩"};
  }
  return {"", ""};
}

/// Without colours special tokens need no marks of their own: they are told by how they are written.
Part shown_as(Part part, bool colours) {
  if (colours) return part;
  if (part == Part::kSpecialTrained) return Part::kTrained;
  return part == Part::kSpecialContext ? Part::kContext : part;
}

std::string legend(bool colours) {
  std::string text;
  const auto add = [&](Part part, const char* name) {
    const Marks marks = marks_of(part, colours);
    text += fmt::format("{}{}{}{}", text.empty() ? "" : "  ", marks.before, name, marks.after);
  };
  add(Part::kTrained, "trained");
  add(Part::kContext, "context");
  if (colours) {
    add(Part::kSpecialTrained, "special, trained");
    add(Part::kSpecialContext, "special");
  }
  add(Part::kTruncated, colours ? "truncated" : "seq_length");
  return text;
}

class Painter {
 public:
  Painter(const tokenizer::Tokenizer* tokenizer, bool colours) : tokenizer_(tokenizer), colours_(colours) {}

  /// The row's text with the marks of its parts; its ids when there is no tokenizer.
  std::string paint(const data::PreviewRow& row) {
    text_.clear();
    std::optional<tokenizer::StreamDecoder> decoder;
    if (tokenizer_ != nullptr) decoder.emplace(*tokenizer_, /*skip_special=*/false);
    const std::vector<std::int32_t>& ids = row.tokens.ids;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      const std::string piece = decoder ? decoder->push(ids[t]) : fmt::format("{} ", ids[t]);
      if (!piece.empty()) append(part_of(row, t), visible(piece));
    }
    if (decoder) append(ids.empty() ? Part::kContext : part_of(row, ids.size() - 1), visible(decoder->finish()));
    close();
    return text_;
  }

 private:
  Part part_of(const data::PreviewRow& row, std::size_t t) const {
    if (static_cast<std::int64_t>(t) >= row.kept) return Part::kTruncated;
    const bool trained = t > 0 && row.tokens.labels[t] != data::kNotTrained;
    if (tokenizer_ != nullptr && tokenizer_->is_special(row.tokens.ids[t])) {
      return shown_as(trained ? Part::kSpecialTrained : Part::kSpecialContext, colours_);
    }
    return trained ? Part::kTrained : Part::kContext;
  }

  void append(Part part, const std::string& piece) {
    if (piece.empty()) return;
    if (open_ != part) {
      close();
      text_ += marks_of(part, colours_).before;
      open_ = part;
    }
    text_ += piece;
  }

  void close() {
    if (open_) text_ += marks_of(*open_, colours_).after;
    open_.reset();
  }

  const tokenizer::Tokenizer* tokenizer_;
  bool colours_;
  std::string text_;
  std::optional<Part> open_;
};

std::string head_of(const data::PreviewRow& row, std::int64_t seq_length) {
  const auto tokens = static_cast<std::int64_t>(row.tokens.ids.size());
  std::string text =
      fmt::format("{} ({}): {} tokens, {} trained", row.place, data::name_of(row.format), tokens, row.trained_tokens);
  if (tokens > row.kept) text += fmt::format(", {} cut off at seq_length {}", tokens - row.kept, seq_length);
  if (row.tokens.lacks_tools) text += ", WITHOUT its tools: the chat template does not write them";
  if (row.trained_tokens == 0) text += ", DROPPED: nothing of it is trained";
  return text;
}

std::string json_of(const data::PreviewRow& row, const tokenizer::Tokenizer* tokenizer) {
  const std::span<const std::int32_t> ids(row.tokens.ids.data(), static_cast<std::size_t>(row.kept));
  const std::span<const std::int32_t> labels(row.tokens.labels.data(), static_cast<std::size_t>(row.kept));
  nlohmann::ordered_json line;
  line["place"] = row.place;
  line["format"] = data::name_of(row.format);
  line["tokens"] = row.kept;
  line["trained_tokens"] = row.trained_tokens;
  line["cut_tokens"] = static_cast<std::int64_t>(row.tokens.ids.size()) - row.kept;
  line["dropped"] = row.trained_tokens == 0;
  if (tokenizer != nullptr) line["text"] = tokenizer->decode(ids);
  line["ids"] = ids;
  line["labels"] = labels;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

int run(const Arguments& arguments) {
  const config::Resolved resolved = load_configuration(arguments);
  check_dataset(resolved);
  const OpenedCheckpoint opened = open_checkpoint(resolved, train::CheckpointParts::kWithoutWeights);
  const std::optional<tokenizer::Tokenizer> tokenizer = open_tokenizer(opened.folder);
  const tokenizer::Tokenizer* known = tokenizer ? &*tokenizer : nullptr;
  const data::LoadSettings settings = data_settings(resolved.config, opened.model);
  const auto rows = data::preview(settings, known, arguments.integer("n", 3, 1));
  if (arguments.has("json")) {
    for (const data::PreviewRow& row : rows) fmt::print("{}\n", json_of(row, known));
    return 0;
  }
  const bool colours = wants_colours(arguments.text("color", "auto"), STDOUT_FILENO);
  fmt::print("{}\n", legend(colours));
  Painter painter(known, colours);
  for (const data::PreviewRow& row : rows) {
    fmt::print("\n--- {}\n{}\n", head_of(row, settings.seq_length), painter.paint(row));
  }
  return 0;
}

}  // namespace

Command data_preview_command() {
  return {.name = "data preview",
          .summary = "Show rows as the model sees them, and which tokens are trained",
          .details =
              "The first rows of dataset.path, rendered, tokenized and masked as training does it. Reads the model's\n"
              "config.json and tokenizer, not its weights.",
          .options = {config_option(true),
                      {"n", "N", "rows to show (3)"},
                      {"json", "", "one line of JSON a row, with ids and labels (-100: not trained)"},
                      {"color", "WHEN", "auto, always or never (auto: on a terminal)"}},
          .takes_overrides = true,
          .run = run};
}

}  // namespace primus::cli
