#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokenizer/chat_parts.h"

namespace primus::tokenizer {
namespace {

/// A text that no template writes: what stands before and behind it in a rendering is the template's own.
constexpr std::string_view kProbe = "\xEE\x80\x80\xEE\x80\x81";  // U+E000 U+E001, private use

std::size_t common_prefix(std::string_view a, std::string_view b) {
  const std::size_t most = std::min(a.size(), b.size());
  std::size_t size = 0;
  while (size < most && a[size] == b[size]) ++size;
  while (size > 0 && size < b.size() && (static_cast<unsigned char>(b[size]) & 0xC0) == 0x80) --size;
  return size;
}

std::string_view without_space_at_end(std::string_view text) {
  const std::size_t last = text.find_last_not_of(" \t\r\n");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool is_assistant(const Value& message) {
  const Value* role = message.find("role");
  return role != nullptr && role->is_string() && role->as_string() == "assistant";
}

Value first_messages(const Value& messages, std::size_t count) {
  const List& list = messages.as_list();
  return Value(List(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count)));
}

class Turn {
 public:
  Turn(const Conversation& conversation, const Value& messages, const TracedRendering& whole, std::size_t index)
      : conversation_(conversation), messages_(messages), whole_(whole), index_(index), region_(whole.written[index]) {}

  TrainedSpan span() const {
    const std::size_t begin = find_begin();
    const std::size_t end = std::max(begin, find_end(begin));
    return {begin, end, static_cast<int>(index_)};
  }

 private:
  [[noreturn]] void fail(std::string_view why) const {
    throw bad_input(
        "{}: message {}: what the assistant is trained to say cannot be told apart from the rest: {}; a template with "
        "{{% generation %}} … {{% endgeneration %}} around it says so itself (dataset.chat_template)",
        conversation_.parts.name, index_, why);
  }

  std::string_view text() const { return whole_.text; }
  bool has_region() const { return region_.end > region_.begin; }
  std::string_view region_text() const { return text().substr(region_.begin, region_.end - region_.begin); }

  /// The rendering, or nothing when the template refuses these messages.
  std::optional<std::string> try_render(const Value& messages, bool add_generation_prompt) const {
    try {
      return conversation_.render(messages, add_generation_prompt).text;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  std::size_t find_begin() const {
    const Value before = first_messages(messages_, index_);
    const auto prompted = try_render(before, true);
    if (prompted && text().starts_with(*prompted)) {
      const std::size_t begin = prompted->size();
      if (!has_region() || (begin >= region_.begin && begin <= region_.end)) return begin;
    }
    if (!has_region()) {
      fail(
          "with a generation prompt the template renders the messages before it differently, and no loop over the "
          "messages writes it");
    }
    return region_.begin + header_size(generation_prompt(before, prompted));
  }

  /// What add_generation_prompt adds behind the messages before this one; when the template refuses these, behind all.
  std::string generation_prompt(const Value& before, const std::optional<std::string>& prompted) const {
    if (prompted) {
      const auto plain = try_render(before, false);
      if (plain && prompted->starts_with(*plain)) return prompted->substr(plain->size());
    }
    const auto all = try_render(messages_, true);
    if (all && all->starts_with(whole_.text)) return all->substr(whole_.text.size());
    fail("the generation prompt is not simply added at the end");
  }

  /// Bytes of the turn's own text that the generation prompt would have written.
  std::size_t header_size(const std::string& prompt) const {
    if (region_text().starts_with(prompt)) return prompt.size();
    // The prompt says more than past turns hold (an empty <think> block), or the turn begins with something else as
    // well (a system message that the template adds): the header is what the template writes before any content.
    const auto probed = probe();
    const std::size_t at = probed ? probed->find(kProbe) : std::string::npos;
    if (at == std::string::npos) fail("the turn does not begin with the generation prompt");
    const std::string_view own = std::string_view(*probed).substr(0, at);
    if (!own.ends_with(prompt) && !prompt.starts_with(own)) fail("the turn does not begin with the generation prompt");
    if (region_text().starts_with(own)) return own.size();
    const std::size_t size = last_mark(own.substr(0, common_prefix(own, region_text())));
    if (size == 0) fail("the turn does not begin with the generation prompt");
    return size;
  }

  /// Size of the longest beginning of `header` that ends with a special token or a line.
  std::size_t last_mark(std::string_view header) const {
    for (std::size_t size = header.size(); size > 0; --size) {
      const std::string_view head = header.substr(0, size);
      if (head.back() == '\n' || ends_with_marker(head)) return size;
    }
    return 0;
  }

  /// What the template writes for this message when its content is the probe.
  std::optional<std::string> probe() const {
    Dict message = messages_.as_list()[index_].as_dict();
    message.set("content", Value(kProbe));
    List changed = messages_.as_list();
    changed[index_] = Value(std::move(message));
    try {
      const TracedRendering rendering = conversation_.render(Value(std::move(changed)), false);
      const ByteSpan written = rendering.written[index_];
      return rendering.text.substr(written.begin, written.end - written.begin);
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  bool ends_with_marker(std::string_view part) const {
    return std::any_of(conversation_.parts.markers.begin(), conversation_.parts.markers.end(),
                       [&](const std::string& marker) { return !marker.empty() && part.ends_with(marker); });
  }

  std::size_t find_end(std::size_t begin) const {
    const std::size_t end = has_region() ? region_.end : end_without_region(begin);
    if (end <= begin) return begin;
    const std::string_view turn = text().substr(begin, end - begin);
    const std::string_view trimmed = without_space_at_end(turn);
    if (ends_with_marker(trimmed)) return begin + trimmed.size();
    const bool last = index_ + 1 == messages_.as_list().size();
    if (const Value* eos = conversation_.parts.special_tokens.find("eos_token"); last && eos != nullptr) {
      if (text().substr(end).starts_with(eos->as_string())) return end + eos->as_string().size();
    }
    // No token ends the turn: all that the template writes behind the content belongs to it, but for space at the end.
    const auto probed = has_region() ? probe() : std::nullopt;
    if (!probed) return end;
    const std::size_t at = probed->rfind(kProbe);
    if (at == std::string::npos) return end;
    const std::string tail = probed->substr(at + kProbe.size());
    const std::string_view kept = without_space_at_end(tail);
    if (kept.empty() || !turn.ends_with(tail)) return end;
    return end - (tail.size() - kept.size());
  }

  std::size_t end_without_region(std::size_t begin) const {
    if (index_ + 1 == messages_.as_list().size()) return text().size();
    const auto through = try_render(first_messages(messages_, index_ + 1), false);
    if (through && through->size() >= begin && text().starts_with(*through)) return through->size();
    const ByteSpan following = whole_.written[index_ + 1];
    if (following.end > following.begin && following.begin >= begin) return following.begin;
    fail("its end is not where the template ends it when it is the last message");
  }

  const Conversation& conversation_;
  const Value& messages_;
  const TracedRendering& whole_;
  const std::size_t index_;
  const ByteSpan region_;
};

}  // namespace

std::vector<TrainedSpan> assistant_spans(const Conversation& conversation, const Value& messages,
                                         const TracedRendering& whole) {
  std::vector<TrainedSpan> spans;
  for (std::size_t i = 0; i < messages.as_list().size(); ++i) {
    if (!is_assistant(messages.as_list()[i])) continue;
    const TrainedSpan span = Turn(conversation, messages, whole, i).span();
    if (span.end == span.begin) continue;
    if (!spans.empty() && span.begin < spans.back().end) {
      throw bad_input("{}: messages {} and {} share a part of the rendered text, so what is trained cannot be told",
                      conversation.parts.name, spans.back().message, span.message);
    }
    spans.push_back(span);
  }
  return spans;
}

}  // namespace primus::tokenizer
