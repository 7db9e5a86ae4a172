#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "tokenizer/spec.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer {
namespace {

using Span = Words::Span;

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_of(const std::string& name, const std::string& where) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  throw bad_input("{}: unknown split behavior {}", where, name);
}

struct Piece {
  Span span;
  bool is_match;
};

/// The pieces one after the other, a match joined to the one before it unless that is a match too.
template <typename Iterator, typename Join>
std::vector<Span> merged(Iterator piece, Iterator end, Join&& join) {
  std::vector<Span> spans;
  for (bool after_match = false; piece != end; after_match = piece->is_match, ++piece) {
    if (piece->is_match && !after_match && !spans.empty()) {
      join(spans.back(), piece->span);
    } else {
      spans.push_back(piece->span);
    }
  }
  return spans;
}

/// Applies the behavior to the pieces of one word and appends what is left.
void apply_behavior(Behavior behavior, std::vector<Piece>& pieces, std::vector<Span>& out) {
  const auto emit = [&out](Span span) {
    if (span.begin < span.end) out.push_back(span);
  };
  const auto extend_end = [](Span& span, Span match) { span.end = match.end; };
  const auto extend_begin = [](Span& span, Span match) { span.begin = match.begin; };
  switch (behavior) {
    case Behavior::kIsolated:
      for (const Piece& piece : pieces) emit(piece.span);
      return;
    case Behavior::kRemoved:
      for (const Piece& piece : pieces) {
        if (!piece.is_match) emit(piece.span);
      }
      return;
    case Behavior::kContiguous:
      for (std::size_t i = 0; i < pieces.size();) {
        Span span = pieces[i].span;
        const bool is_match = pieces[i].is_match;
        for (++i; i < pieces.size() && pieces[i].is_match == is_match; ++i) span.end = pieces[i].span.end;
        emit(span);
      }
      return;
    case Behavior::kMergedWithPrevious:
      for (const Span span : merged(pieces.begin(), pieces.end(), extend_end)) emit(span);
      return;
    case Behavior::kMergedWithNext: {
      const std::vector<Span> spans = merged(pieces.rbegin(), pieces.rend(), extend_begin);
      std::for_each(spans.rbegin(), spans.rend(), emit);
      return;
    }
  }
}

/// Cuts every word by `pieces_of(text, out)`, which covers the whole of `text`.
template <typename PiecesOf>
void split_words(Words& words, Behavior behavior, PiecesOf&& pieces_of) {
  std::vector<Span> out;
  out.reserve(words.spans.size() + words.text.size() / 4);
  std::vector<Piece> pieces;
  for (const Span word : words.spans) {
    pieces.clear();
    pieces_of(words.text.view().substr(word.begin, word.end - word.begin), pieces);
    for (Piece& piece : pieces) {
      piece.span.begin += word.begin;
      piece.span.end += word.begin;
    }
    apply_behavior(behavior, pieces, out);
  }
  words.spans = std::move(out);
}

Span span_of(std::size_t begin, std::size_t end) {
  return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
}

class Split : public PreTokenizer {
 public:
  Split(Regex pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void apply(Words& words) const override {
    Regex::Matcher matcher(pattern_);
    split_words(words, behavior_, [&](std::string_view text, std::vector<Piece>& pieces) {
      std::size_t done = 0, from = 0;
      bool matched = false;
      ByteSpan match;
      while (from < text.size() && matcher.find(text, from, match)) {
        const bool empty = match.begin == match.end;
        if (!empty || !matched || match.begin > done) {  // an empty match right behind another one is none
          if (done < match.begin) pieces.push_back({span_of(done, match.begin), invert_});
          pieces.push_back({span_of(match.begin, match.end), !invert_});
          done = match.end;
          matched = true;
        }
        if (empty && match.end == text.size()) break;
        from = match.end + (empty ? unicode::length_of(static_cast<unsigned char>(text[match.end])) : 0);
      }
      if (done < text.size()) pieces.push_back({span_of(done, text.size()), invert_});
    });
  }

 private:
  Regex pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Cuts at single characters of one kind.
class SplitCharacters : public PreTokenizer {
 public:
  SplitCharacters(bool (*is_match)(char32_t), Behavior behavior) : is_match_(is_match), behavior_(behavior) {}

  void apply(Words& words) const override {
    split_words(words, behavior_, [&](std::string_view text, std::vector<Piece>& pieces) {
      std::size_t done = 0;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        if (!is_match_(unicode::next(text, at))) continue;
        if (done < begin) pieces.push_back({span_of(done, begin), false});
        pieces.push_back({span_of(begin, at), true});
        done = at;
      }
      if (done < text.size()) pieces.push_back({span_of(done, text.size()), false});
    });
  }

 private:
  bool (*is_match_)(char32_t);
  Behavior behavior_;
};

/// Puts `prefix` before every word for which `wanted` says so.
template <typename Wanted>
void prefix_words(Words& words, std::string_view prefix, Wanted&& wanted) {
  AlignedText::Rewriter out(words.text);
  std::vector<Span> spans;
  for (const Span word : words.spans) {
    const std::size_t begin = out.size();
    if (wanted(word)) out.put(prefix, word.begin);
    out.keep(word.begin, word.end);
    spans.push_back(span_of(begin, out.size()));
  }
  words.text.take(std::move(out));
  words.spans = std::move(spans);
}

/// ByteLevel's add_prefix_space; that words are bytes is the model's business.
class PrefixSpace : public PreTokenizer {
 public:
  void apply(Words& words) const override {
    prefix_words(words, " ", [&](Span word) { return words.text.view()[word.begin] != ' '; });
  }
};

class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(std::string mark, Prepend prepend, bool split) : mark_(std::move(mark)), prepend_(prepend), split_(split) {}

  void apply(Words& words) const override {
    AlignedText::Rewriter out(words.text);
    std::vector<Span> spans;
    for (const Span word : words.spans) {
      const std::string_view text = words.text.view().substr(word.begin, word.end - word.begin);
      const std::size_t begin = out.size();
      const bool has_mark = text.starts_with(' ') || text.starts_with(mark_);
      const bool first = words.text.origin(word.begin) == 0;
      if (!has_mark && (prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && first))) {
        out.put(mark_, word.begin);
      }
      std::size_t kept = 0;
      for (std::size_t at = text.find(' '); at != std::string_view::npos; at = text.find(' ', at + 1)) {
        out.keep(word.begin + kept, word.begin + at);
        out.put(mark_, word.begin + at);
        kept = at + 1;
      }
      out.keep(word.begin + kept, word.end);
      spans.push_back(span_of(begin, out.size()));
    }
    words.text.take(std::move(out));
    words.spans = std::move(spans);
    if (split_) split_at_marks(words);
  }

 private:
  void split_at_marks(Words& words) const {
    split_words(words, Behavior::kMergedWithNext, [&](std::string_view text, std::vector<Piece>& pieces) {
      std::size_t done = 0;
      for (std::size_t at = text.find(mark_); at != std::string_view::npos; at = text.find(mark_, done)) {
        if (done < at) pieces.push_back({span_of(done, at), false});
        done = at + mark_.size();
        pieces.push_back({span_of(at, done), true});
      }
      if (done < text.size()) pieces.push_back({span_of(done, text.size()), false});
    });
  }

  std::string mark_;
  Prepend prepend_;
  bool split_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}
  void apply(Words& words) const override {
    for (const auto& step : steps_) step->apply(words);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

bool is_any_punctuation(char32_t c) {
  const bool ascii_symbol =
      c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' || c == '`' || c == '|' || c == '~';
  return ascii_symbol || unicode::is_punctuation(c);
}

// \w as Rust's regex crate has it, which holds the joiners.
constexpr char kWhitespaceWords[] =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}\s]+)";
constexpr char kGpt2Words[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::unique_ptr<PreTokenizer> make_metaspace(const Value& spec, const std::string& where) {
  const std::string mark = spec::text_or(spec, "replacement", "\xE2\x96\x81", where);
  if (mark.empty() || unicode::count(mark) != 1) throw bad_input("{}: \"replacement\" must be one character", where);
  const std::string otherwise = spec::flag(spec, "add_prefix_space", true, where) ? "always" : "never";
  const std::string scheme = spec::text_or(spec, "prepend_scheme", otherwise, where);
  Metaspace::Prepend prepend = Metaspace::Prepend::kAlways;
  if (scheme == "first") {
    prepend = Metaspace::Prepend::kFirst;
  } else if (scheme == "never") {
    prepend = Metaspace::Prepend::kNever;
  } else if (scheme != "always") {
    throw bad_input("{}: unknown prepend_scheme {}", where, scheme);
  }
  return std::make_unique<Metaspace>(mark, prepend, spec::flag(spec, "split", true, where));
}

PreTokenizerSpec make_sequence(const Value& spec, const std::string& where) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  bool byte_level = false;
  for (const Value& member : spec::list(spec, "pretokenizers", where)) {
    if (byte_level) throw bad_input("{}: nothing may follow ByteLevel in a Sequence", where);
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): made owns its step
    PreTokenizerSpec made = make_pre_tokenizer(member, where);
    if (made.step) steps.push_back(std::move(made.step));
    byte_level = made.byte_level;
  }
  return {std::make_unique<Sequence>(std::move(steps)), byte_level};
}

PreTokenizerSpec make_byte_level(const Value& spec, const std::string& where) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  if (spec::flag(spec, "add_prefix_space", true, where)) steps.push_back(std::make_unique<PrefixSpace>());
  if (spec::flag(spec, "use_regex", true, where)) {
    steps.push_back(std::make_unique<Split>(Regex(kGpt2Words, where), Behavior::kIsolated, false));
  }
  return {std::make_unique<Sequence>(std::move(steps)), true};
}

}  // namespace

PreTokenizerSpec make_pre_tokenizer(const Value& spec, const std::string& where) {
  if (spec.is_null()) return {};
  const std::string type = spec::type(spec, where);
  const auto behavior = [&] { return behavior_of(spec::text_or(spec, "behavior", "Isolated", where), where); };
  if (type == "Sequence") return make_sequence(spec, where);
  if (type == "ByteLevel") return make_byte_level(spec, where);
  if (type == "Metaspace") return {make_metaspace(spec, where), false};
  if (type == "Split") {
    return {std::make_unique<Split>(spec::pattern(spec, where), behavior(), spec::flag(spec, "invert", false, where)),
            false};
  }
  if (type == "Digits") {
    const bool single = spec::flag(spec, "individual_digits", false, where);
    return {std::make_unique<SplitCharacters>(unicode::is_number, single ? Behavior::kIsolated : Behavior::kContiguous),
            false};
  }
  if (type == "Punctuation") return {std::make_unique<SplitCharacters>(is_any_punctuation, behavior()), false};
  if (type == "WhitespaceSplit") {
    return {std::make_unique<SplitCharacters>(unicode::is_white_space, Behavior::kRemoved), false};
  }
  if (type == "Whitespace") {
    return {std::make_unique<Split>(Regex(kWhitespaceWords, where), Behavior::kRemoved, true), false};
  }
  throw bad_input(
      "{}: the pre-tokenizer {} is not supported (Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, "
      "Punctuation and Sequence are)",
      where, type);
}

}  // namespace primus::tokenizer
