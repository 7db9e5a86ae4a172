#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace primus::model {

struct SamplingSettings {
  std::int64_t max_new_tokens = 256;
  double temperature = 0.0;  // 0: the most likely token always
  std::int64_t top_k = 0;    // 0: all
  double top_p = 1.0;
  std::uint64_t seed = 0;
  std::vector<std::int32_t> stop_tokens;  // end a sequence; not part of the result
};

/// Continues several prompts at once with a cache of keys and values. The decoder must have been built with train =
/// false and max_tokens at least `prompt tokens` (see generate).
class Generator {
 public:
  /// Room for `sequences` of up to `capacity` tokens each, prompt and answer together.
  Generator(Decoder& decoder, std::int64_t sequences, std::int64_t capacity, Arena& arena);

  std::int64_t sequences() const { return sequences_; }
  std::int64_t capacity() const { return capacity_; }

  /// Called with (sequence, token) for every new token as it comes.
  using OnToken = std::function<void(std::size_t sequence, std::int32_t token)>;

  /// The new tokens of each prompt, without the stop token. At most sequences() prompts, none empty, each shorter than
  /// capacity(); answers end at the capacity too.
  std::vector<std::vector<std::int32_t>> generate(Stream& stream, std::span<const std::vector<std::int32_t>> prompts,
                                                  const SamplingSettings& settings, const OnToken& on_token = {});

  /// Logits (tokens, vocab) after every token of a prompt, row by row.
  std::vector<float> prompt_logits(Stream& stream, const std::vector<std::int32_t>& prompt);

 private:
  /// Fills the cache with prompts [first, last) and returns the next token of each.
  std::vector<std::int32_t> prefill(const Pass& pass, std::span<const std::vector<std::int32_t>> prompts,
                                    std::size_t first, std::size_t last, const SamplingSettings& settings);
  std::vector<std::int32_t> step(const Pass& pass, std::span<const std::int32_t> tokens,
                                 std::span<const std::int32_t> positions, std::span<const std::size_t> slots,
                                 const SamplingSettings& settings);
  std::vector<std::int32_t> choose(Stream& stream, const Tensor& logits, std::span<const std::size_t> slots,
                                   const SamplingSettings& settings);

  Decoder& decoder_;
  std::int64_t sequences_;
  std::int64_t capacity_;
  BatchBuffers batch_;
  Tensor slots_;  // (sequences) i32: those that a step continues
  struct Cache {
    Tensor k;  // (sequences·capacity, kv)
    Tensor v;
  };
  std::vector<Cache> caches_;         // by layer
  std::vector<std::uint64_t> draws_;  // random numbers used, by sequence
};

/// The next token out of `logits` (vocab): the most likely one at temperature 0, else drawn with `uniform` in [0, 1).
std::int32_t sample(std::span<const float> logits, const SamplingSettings& settings, double uniform);

}  // namespace primus::model
