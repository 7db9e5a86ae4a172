#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "tokenizer/spec.h"
#include "tokenizer/unicode.h"

namespace primus::tokenizer {
namespace {

constexpr char32_t kFirstMark = 0x300;  // below it every character is its own NFC and joins no other

std::string normalize_text(std::string_view text, utf8proc_option_t form) {
  utf8proc_uint8_t* result = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form);
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &result, options);
  if (size < 0) throw bad_input("normalizing the text failed: {}", utf8proc_errmsg(size));
  std::string out(reinterpret_cast<const char*>(result), static_cast<std::size_t>(size));
  std::free(result);
  return out;
}

/// For each character below U+10000: NFC leaves it as it is and never joins it to the one before. A conservative
/// answer, from general properties: marks and the vowels and finals of Hangul may join.
std::vector<bool> stable_characters() {
  std::vector<bool> stable(0x10000);
  for (char32_t c = 0; c < stable.size(); ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
    const auto category = property->category;
    if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) continue;
    if (property->combining_class != 0 || (c >= 0x1160 && c <= 0x11FF)) continue;
    if (c >= kFirstMark && property->decomp_type == 0 && property->decomp_seqindex != UINT16_MAX) {
      std::string text;
      unicode::append(text, c);
      if (normalize_text(text, UTF8PROC_COMPOSE) != text) continue;
    }
    stable[c] = true;
  }
  return stable;
}

bool is_stable(char32_t c) {
  if (c < kFirstMark) return true;
  static const std::vector<bool> table = stable_characters();
  return c < table.size() ? table[c]
                          : (c >= 0x1F000 && c < 0x1FB00) || (c >= 0x20000 && c < 0x2F800);  // pictures, ideographs
}

class Nfc : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    const std::string_view view = text.view();
    std::size_t first = 0;  // bytes below 0xCC begin characters below U+0300
    while (first < view.size() && static_cast<unsigned char>(view[first]) < 0xCC) ++first;
    if (first == view.size()) return;
    // Between two stable characters nothing joins, so only the stretches around the others are normalized.
    std::size_t last_stable = 0, kept = 0;
    bool changed = false;
    AlignedText::Rewriter out(text);
    for (std::size_t at = 0; at < view.size();) {
      const std::size_t begin = at;
      if (is_stable(unicode::next(view, at))) {
        last_stable = begin;
        continue;
      }
      while (at < view.size()) {
        std::size_t after = at;
        if (is_stable(unicode::next(view, after))) break;
        at = after;
      }
      const std::string_view stretch = view.substr(last_stable, at - last_stable);
      const std::string normal = normalize_text(stretch, UTF8PROC_COMPOSE);
      if (normal != stretch) {
        changed = true;
        out.keep(kept, last_stable);
        out.put(normal, last_stable);
        kept = at;
      }
      last_stable = at;
    }
    if (!changed) return;
    out.keep(kept, view.size());
    text.take(std::move(out));
  }
};

/// NFD, NFKC, NFKD: rare in tokenizers of this kind, so without a fast path.
class OtherForm : public Normalizer {
 public:
  explicit OtherForm(utf8proc_option_t form) : form_(form) {}

  void apply(AlignedText& text) const override {
    const std::string_view view = text.view();
    AlignedText::Rewriter out(text);
    for (std::size_t at = 0; at < view.size();) {
      const std::size_t begin = at;
      unicode::next(view, at);
      while (at < view.size()) {
        std::size_t after = at;
        if (begins_stretch(unicode::next(view, after))) break;
        at = after;
      }
      out.put(normalize_text(view.substr(begin, at - begin), form_), begin);
    }
    text.take(std::move(out));
  }

 private:
  /// Compatibility jamo and half-width forms become characters that may join the one before.
  static bool begins_stretch(char32_t c) {
    return is_stable(c) && !(c >= 0x3130 && c < 0x3190) && !(c >= 0xFF00 && c < 0xFFF0);
  }

  utf8proc_option_t form_;
};

class Lowercase : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    const std::string_view view = text.view();
    AlignedText::Rewriter out(text);
    for (std::size_t at = 0; at < view.size();) {
      const std::size_t begin = at;
      const char32_t c = unicode::next(view, at);
      std::string lower;
      if (c == 0x130) {
        lower = "i\xCC\x87";
      } else {
        unicode::append(lower, unicode::to_lower(c));
      }
      out.put(lower, begin);
    }
    text.take(std::move(out));
  }
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  void apply(AlignedText& text) const override {
    const std::string_view view = text.view();
    std::size_t begin = 0, end = view.size();
    while (left_ && begin < end) {
      std::size_t after = begin;
      if (!unicode::is_white_space(unicode::next(view, after))) break;
      begin = after;
    }
    while (right_ && end > begin) {
      std::size_t before = unicode::previous(view, end);
      std::size_t after = before;
      if (!unicode::is_white_space(unicode::next(view, after))) break;
      end = before;
    }
    if (begin == 0 && end == view.size()) return;
    AlignedText::Rewriter out(text);
    out.keep(begin, end);
    text.take(std::move(out));
  }

 private:
  bool left_, right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  void apply(AlignedText& text) const override {
    if (text.size() == 0) return;
    AlignedText::Rewriter out(text);
    out.put(prefix_, 0);
    out.keep(0, text.size());
    text.take(std::move(out));
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(AlignedText& text) const override {
    Regex::Matcher matcher(pattern_);
    const std::string_view view = text.view();
    ByteSpan match;
    if (!matcher.find(view, 0, match)) return;
    AlignedText::Rewriter out(text);
    std::size_t kept = 0, from = 0;
    while (from <= view.size() && matcher.find(view, from, match)) {
      if (match.end == match.begin) {  // an empty match replaces nothing
        if (match.begin >= view.size()) break;
        from = match.begin + unicode::length_of(static_cast<unsigned char>(view[match.begin]));
        continue;
      }
      out.keep(kept, match.begin);
      out.put(content_, match.begin);
      kept = from = match.end;
    }
    out.keep(kept, view.size());
    text.take(std::move(out));
  }

 private:
  Regex pattern_;
  std::string content_;
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(AlignedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Value& spec, const std::string& where) {
  if (spec.is_null()) return nullptr;
  const std::string type = spec::type(spec, where);
  const auto form = [](int options) { return std::make_unique<OtherForm>(static_cast<utf8proc_option_t>(options)); };
  if (type == "NFC") return std::make_unique<Nfc>();
  if (type == "NFD") return form(UTF8PROC_DECOMPOSE);
  if (type == "NFKC") return form(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  if (type == "NFKD") return form(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Strip") {
    return std::make_unique<Strip>(spec::flag(spec, "strip_left", true, where),
                                   spec::flag(spec, "strip_right", true, where));
  }
  if (type == "Prepend") return std::make_unique<Prepend>(spec::text(spec, "prepend", where));
  if (type == "Replace") {
    return std::make_unique<Replace>(spec::pattern(spec, where), spec::text(spec, "content", where));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const Value& step : spec::list(spec, "normalizers", where)) {
      if (auto made = make_normalizer(step, where)) steps.push_back(std::move(made));
    }
    return std::make_unique<Sequence>(std::move(steps));
  }
  throw bad_input(
      "{}: the normalizer {} is not supported (NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace and Sequence "
      "are)",
      where, type);
}

}  // namespace primus::tokenizer
