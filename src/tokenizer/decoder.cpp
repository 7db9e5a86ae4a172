#include "tokenizer/decoder.h"

#include <charconv>

#include "base/error.h"
#include "tokenizer/spec.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary.h"

namespace primus::tokenizer {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

/// The byte of <0x0A>.
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned byte = 0;
  const auto result = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (result.ec != std::errc() || result.ptr != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

std::string replaced(const Regex& pattern, const std::string& content, std::string_view text) {
  Regex::Matcher matcher(pattern);
  std::string out;
  std::size_t done = 0;
  ByteSpan match;
  while (done < text.size() && matcher.find(text, done, match) && match.end > match.begin) {
    out.append(text, done, match.begin - done).append(content);
    done = match.end;
  }
  return out.append(text, done);
}

std::string stripped(std::string text, const std::string& content, std::size_t start, std::size_t stop) {
  for (; start > 0 && text.starts_with(content); --start) text.erase(0, content.size());
  for (; stop > 0 && text.ends_with(content); --stop) text.resize(text.size() - content.size());
  return text;
}

std::string unmarked(std::string_view text, std::string_view mark, bool drop) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, done)) {
    out.append(text, done, at - done);
    if (!drop) out += ' ';
    done = at + mark.size();
  }
  return out.append(text, done);
}

std::string fused(const std::vector<std::string>& tokens) {
  std::string whole;
  for (const std::string& token : tokens) whole += token;
  return whole;
}

/// Runs of <0x..> become text; each byte of a run that is no UTF-8 becomes U+FFFD.
std::vector<std::string> join_bytes(const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string run;
  const auto flush = [&] {
    if (run.empty()) return;
    if (unicode::find_invalid(run) == std::string_view::npos) {
      out.push_back(run);
    } else {
      out.insert(out.end(), run.size(), kReplacement);
    }
    run.clear();
  };
  for (const std::string& token : tokens) {
    if (const auto byte = byte_of(token)) {
      run += *byte;
    } else {
      flush();
      out.push_back(token);
    }
  }
  flush();
  return out;
}

}  // namespace

Decoder::Decoder(const Value& spec, const std::string& where) {
  if (spec.is_null()) {
    joined_by_spaces_ = true;
  } else {
    add(spec, where);
  }
}

void Decoder::add(const Value& spec, const std::string& where) {
  const std::string type = spec::type(spec, where);
  if (type == "ByteLevel") {
    byte_level_ = true;
  } else if (type == "Sequence") {
    for (const Value& member : spec::list(spec, "decoders", where)) add(member, where);
  } else if (type == "Replace") {
    steps_.emplace_back(Replace{spec::pattern(spec, where), spec::text(spec, "content", where)});
  } else if (type == "ByteFallback") {
    steps_.emplace_back(ByteFallback{});
  } else if (type == "Fuse") {
    steps_.emplace_back(Fuse{});
  } else if (type == "Strip") {
    const auto count = [&](std::string_view key) {
      const std::int64_t value = spec::integer_or(spec, key, 0, where);
      if (value < 0) throw bad_input("{}: \"{}\" must not be negative", where, key);
      return static_cast<std::size_t>(value);
    };
    const std::string content = spec::text(spec, "content", where);
    if (content.empty()) throw bad_input("{}: \"content\" must not be empty", where);
    steps_.emplace_back(Strip{content, count("start"), count("stop")});
  } else if (type == "Metaspace") {
    const std::string mark = spec::text_or(spec, "replacement", "\xE2\x96\x81", where);
    if (mark.empty()) throw bad_input("{}: \"replacement\" must not be empty", where);
    const std::string otherwise = spec::flag(spec, "add_prefix_space", true, where) ? "always" : "never";
    steps_.emplace_back(Metaspace{mark, spec::text_or(spec, "prepend_scheme", otherwise, where) != "never"});
  } else {
    throw bad_input(
        "{}: the decoder {} is not supported (ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace and Sequence "
        "are)",
        where, type);
  }
}

std::string Decoder::decode(const std::vector<Token>& tokens) const {
  if (byte_level_) {
    std::string bytes;
    for (const Token& token : tokens) bytes += decode_one(token, false);
    return unicode::replace_invalid(bytes);
  }
  std::vector<std::string> texts;
  texts.reserve(tokens.size());
  for (const Token& token : tokens) texts.emplace_back(token.text);
  for (const Step& step : steps_) {
    if (const auto* replace = std::get_if<Replace>(&step)) {
      for (std::string& text : texts) text = replaced(replace->pattern, replace->content, text);
    } else if (std::holds_alternative<ByteFallback>(step)) {
      texts = join_bytes(texts);
    } else if (std::holds_alternative<Fuse>(step)) {
      texts = {fused(texts)};
    } else if (const auto* strip = std::get_if<Strip>(&step)) {
      for (std::string& text : texts) text = stripped(std::move(text), strip->content, strip->start, strip->stop);
    } else if (const auto* space = std::get_if<Metaspace>(&step)) {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        texts[i] = unmarked(texts[i], space->mark, i == 0 && space->drop_first);
      }
    }
  }
  if (!joined_by_spaces_) return fused(texts);
  std::string whole;
  for (std::size_t i = 0; i < texts.size(); ++i) whole += (i > 0 ? " " : "") + texts[i];
  return whole;
}

std::string Decoder::decode_one(Token token, bool first) const {
  if (byte_level_) {
    if (token.added) return std::string(token.text);
    auto bytes = bytes_of_characters(token.text);
    return bytes ? std::move(*bytes) : std::string(token.text);
  }
  std::string text(token.text);
  bool is_byte = false;
  for (const Step& step : steps_) {
    if (is_byte) break;
    if (const auto* replace = std::get_if<Replace>(&step)) {
      text = replaced(replace->pattern, replace->content, text);
    } else if (std::holds_alternative<ByteFallback>(step)) {
      if (const auto byte = byte_of(text)) {
        text = std::string(1, *byte);
        is_byte = true;
      }
    } else if (const auto* strip = std::get_if<Strip>(&step)) {
      if (first) text = stripped(std::move(text), strip->content, strip->start, 0);
    } else if (const auto* space = std::get_if<Metaspace>(&step)) {
      text = unmarked(text, space->mark, first && space->drop_first);
    }
  }
  if (joined_by_spaces_ && !first) text = " " + text;
  return text;
}

}  // namespace primus::tokenizer
