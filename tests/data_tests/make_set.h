#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "data/token_set.h"

namespace primus::data::testing {

/// `rows` rows of random length and labels; at least the last token of each is trained.
inline TokenSet random_set(std::int64_t rows, std::uint64_t seed, std::int64_t longest = 200,
                           bool labels_differ = false) {
  const Philox random{seed, 77};
  std::uint64_t draw = 0;
  TokenSetBuilder builder;
  builder.begin_source();
  const std::uint32_t file = builder.add_file("random.jsonl");
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto length = static_cast<std::int64_t>(2 + random.below(draw++, static_cast<std::uint64_t>(longest - 1)));
    TokenRow tokens;
    for (std::int64_t t = 0; t < length; ++t) {
      const auto id = static_cast<std::int32_t>(random.below(draw++, 1000));
      const bool trained = t + 1 == length || random.below(draw++, 3) == 0;
      tokens.ids.push_back(id);
      tokens.labels.push_back(trained ? (labels_differ ? id + 1000 : id) : kNotTrained);
    }
    builder.add(tokens, {file, static_cast<std::uint32_t>(row + 1), static_cast<std::uint32_t>(row + 1)});
  }
  return builder.finish();
}

/// Rows of the given lengths, all tokens trained, ids telling the row: id = row.
inline TokenSet set_of_lengths(const std::vector<std::vector<std::int64_t>>& lengths_by_source) {
  TokenSetBuilder builder;
  std::int32_t id = 0;
  for (const auto& lengths : lengths_by_source) {
    builder.begin_source();
    const std::uint32_t file = builder.add_file("source.jsonl");
    for (const std::int64_t length : lengths) {
      const std::vector<std::int32_t> ids(static_cast<std::size_t>(length), id++);
      builder.add(ids, ids, {file, 1, 1});
    }
  }
  return builder.finish();
}

}  // namespace primus::data::testing
