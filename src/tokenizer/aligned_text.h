#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace primus::tokenizer {

/// A stretch of the text being encoded, perhaps rewritten, that remembers where its bytes came from.
class AlignedText {
 public:
  /// `source` begins at byte `base` of the whole text and must outlive this.
  AlignedText(std::string_view source, std::size_t base, bool track) : view_(source), base_(base), track_(track) {}

  std::string_view view() const { return owned_ ? std::string_view(text_) : view_; }
  std::size_t size() const { return view().size(); }
  /// Byte of the whole text that byte `at` comes from; `at` may be size(). When not tracking only that of byte 0 is
  /// exact.
  std::size_t origin(std::size_t at) const { return origins_.empty() ? base_ + at : origins_[at]; }

  /// Bytes [begin, end) of this, which must outlive it.
  AlignedText slice(std::size_t begin, std::size_t end) const {
    AlignedText part(view().substr(begin, end - begin), origin(begin), track_);
    if (!origins_.empty()) {
      part.origins_.assign(origins_.begin() + static_cast<std::ptrdiff_t>(begin),
                           origins_.begin() + static_cast<std::ptrdiff_t>(end + 1));
    }
    return part;
  }

  /// Rewrites front to back: every byte is kept or replaced, in order.
  class Rewriter {
   public:
    explicit Rewriter(const AlignedText& from) : from_(from) { text_.reserve(from.size() + 16); }

    void keep(std::size_t begin, std::size_t end) {
      if (begin < end) note_first(begin);
      text_.append(from_.view(), begin, end - begin);
      if (!from_.track_) return;
      for (std::size_t i = begin; i < end; ++i) origins_.push_back(from_.origin(i));
    }
    /// New bytes that stand for what begins at byte `at`.
    void put(std::string_view bytes, std::size_t at) {
      if (!bytes.empty()) note_first(at);
      text_ += bytes;
      if (from_.track_) origins_.insert(origins_.end(), bytes.size(), from_.origin(at));
    }
    std::size_t size() const { return text_.size(); }

   private:
    friend class AlignedText;
    void note_first(std::size_t at) {
      if (text_.empty()) first_origin_ = from_.origin(at);
    }

    const AlignedText& from_;
    std::size_t first_origin_ = from_.base_;
    std::string text_;
    std::vector<std::size_t> origins_;
  };

  void take(Rewriter&& rewriter) {
    if (track_) rewriter.origins_.push_back(origin(size()));
    base_ = rewriter.first_origin_;
    text_ = std::move(rewriter.text_);
    origins_ = std::move(rewriter.origins_);
    owned_ = true;
  }

  bool track() const { return track_; }

 private:
  std::string_view view_;
  std::size_t base_ = 0;
  bool track_ = false;
  bool owned_ = false;
  std::string text_;
  std::vector<std::size_t> origins_;  // one a byte and one for the end; empty: unchanged
};

}  // namespace primus::tokenizer
