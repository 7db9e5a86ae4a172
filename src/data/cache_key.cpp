#include "data/cache_key.h"

#include <fmt/format.h>

#include "base/digest.h"

namespace primus::data {
namespace {

/// Raise it whenever the same rows may become other tokens, labels or files.
constexpr int kVersion = 3;

/// Every part with its length, so that no two lists of parts read the same.
class Parts {
 public:
  void add(std::string_view part) {
    digest_.update(fmt::format("{}:", part.size()));
    digest_.update(part);
  }
  void add(std::int64_t number) { add(fmt::format("{}", number)); }
  std::string digest() { return digest_.finish(); }

 private:
  Digest digest_;
};

}  // namespace

std::string cache_key(const std::vector<SourceFiles>& sources, const LoadSettings& settings,
                      const RowRenderer& renderer, const tokenizer::Tokenizer* tokenizer, const DigestMemo& memo,
                      int threads) {
  Parts parts;
  parts.add(kVersion);
  parts.add(tokenizer == nullptr ? "" : tokenizer->fingerprint());
  parts.add(renderer.fingerprint());
  parts.add(settings.format);
  parts.add(vocabulary_size(settings, tokenizer));
  parts.add(static_cast<std::int64_t>(settings.columns.size()));
  for (const auto& [ours, theirs] : settings.columns) {
    parts.add(ours);
    parts.add(theirs);
  }
  for (const SourceFiles& files : sources) {
    parts.add(static_cast<std::int64_t>(files.size()));
    for (const auto& file : files) parts.add(memo.digest(file, threads));
  }
  return parts.digest();
}

}  // namespace primus::data
