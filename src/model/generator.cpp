#include "model/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "ops/attention.h"
#include "ops/elementwise.h"

namespace primus::model {
namespace {

void copy_rows(Stream& stream, const Tensor& from, const Tensor& to) { ops::convert(stream, {.in = from, .out = to}); }

}  // namespace

std::int32_t sample(std::span<const float> logits, const SamplingSettings& settings, double uniform) {
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  if (settings.temperature <= 0.0) return static_cast<std::int32_t>(best);

  const double top = logits[static_cast<std::size_t>(best)];
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::size_t count = order.size();
  if (settings.top_k > 0) count = std::min(count, static_cast<std::size_t>(settings.top_k));
  const auto larger = [&](std::int32_t a, std::int32_t b) {
    const float left = logits[static_cast<std::size_t>(a)];
    const float right = logits[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), larger);

  std::vector<double> weights(count);
  double total = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    weights[i] = std::exp((logits[static_cast<std::size_t>(order[i])] - top) / settings.temperature);
    total += weights[i];
  }
  // the smallest set of likeliest tokens whose share reaches top_p
  double kept = 0.0;
  std::size_t last = 0;
  while (last < count && (last == 0 || kept < settings.top_p * total)) kept += weights[last++];
  double rest = uniform * kept;
  for (std::size_t i = 0; i < last; ++i) {
    rest -= weights[i];
    if (rest < 0.0) return order[i];
  }
  return order[last - 1];
}

Generator::Generator(Decoder& decoder, std::int64_t sequences, std::int64_t capacity, Arena& arena)
    : decoder_(decoder),
      sequences_(sequences),
      capacity_(capacity),
      batch_(arena, decoder.options().max_tokens),
      slots_(arena.vector(MemoryKind::kActivations, "cache slots", DType::kI32, sequences)) {
  PRIMUS_CHECK(!decoder.options().train, "a decoder for generation keeps nothing for backward");
  PRIMUS_CHECK(sequences <= decoder.options().max_tokens && sequences <= decoder.max_logit_rows(), sequences,
               decoder.options().max_tokens, decoder.max_logit_rows());
  const ModelConfig& config = decoder.config();
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const auto cache = [&](const char* name) {
      return arena.matrix(MemoryKind::kActivations, fmt::format("layer {} {} cache", layer, name),
                          decoder.options().compute_dtype, sequences * capacity, config.kv_size());
    };
    caches_.push_back({cache("key"), cache("value")});
  }
}

std::vector<std::int32_t> Generator::choose(Stream& stream, const Tensor& logits, std::span<const std::size_t> slots,
                                            const SamplingSettings& settings) {
  std::vector<float> host(static_cast<std::size_t>(logits.numel()));
  stream.copy_to_host(host.data(), logits);
  const auto vocab = static_cast<std::size_t>(logits.columns());
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Philox random{.seed = settings.seed, .stream = slots[i]};
    const double uniform = random.uniform(draws_[slots[i]]++);
    tokens.push_back(sample(std::span(host).subspan(i * vocab, vocab), settings, uniform));
  }
  return tokens;
}

std::vector<float> Generator::prompt_logits(Stream& stream, const std::vector<std::int32_t>& prompt) {
  const auto tokens = static_cast<std::int64_t>(prompt.size());
  std::vector<std::int32_t> positions(prompt.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<std::int32_t> cu_seqlens{0, static_cast<std::int32_t>(tokens)};
  const Batch batch = batch_.upload(stream, {.ids = prompt,
                                             .positions = positions,
                                             .cu_seqlens = cu_seqlens,
                                             .trained_rows = positions,
                                             .targets = positions,
                                             .max_seqlen = tokens});
  const Pass pass{.stream = stream};
  std::vector<float> result;
  for (std::int64_t begin = 0; begin < tokens; begin += decoder_.max_logit_rows()) {
    const std::int64_t end = std::min(begin + decoder_.max_logit_rows(), tokens);
    const Tensor logits =
        decoder_.logits(pass, batch, batch.trained_rows.slice(begin, end), attend_over(decoder_.config(), batch));
    std::vector<float> rows(static_cast<std::size_t>(logits.numel()));
    stream.copy_to_host(rows.data(), logits);
    result.insert(result.end(), rows.begin(), rows.end());
  }
  return result;
}

std::vector<std::int32_t> Generator::prefill(const Pass& pass, std::span<const std::vector<std::int32_t>> prompts,
                                             std::size_t first, std::size_t last, const SamplingSettings& settings) {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> cu_seqlens{0};
  std::vector<std::int32_t> rows;
  std::vector<std::size_t> slots;
  std::int64_t longest = 0;
  for (std::size_t i = first; i < last; ++i) {
    ids.insert(ids.end(), prompts[i].begin(), prompts[i].end());
    for (std::size_t t = 0; t < prompts[i].size(); ++t) positions.push_back(static_cast<std::int32_t>(t));
    cu_seqlens.push_back(static_cast<std::int32_t>(ids.size()));
    rows.push_back(cu_seqlens.back() - 1);
    slots.push_back(i);
    longest = std::max(longest, static_cast<std::int64_t>(prompts[i].size()));
  }
  // the rows whose logits are wanted travel as "trained rows"
  const Batch batch = batch_.upload(pass.stream, {.ids = ids,
                                                  .positions = positions,
                                                  .cu_seqlens = cu_seqlens,
                                                  .trained_rows = rows,
                                                  .targets = rows,
                                                  .max_seqlen = longest});
  const Attend over_batch = attend_over(decoder_.config(), batch);
  const Attend attend = [&](const Pass& p, std::int64_t layer, const LayerActivations& activations) {
    const Cache& cache = caches_[static_cast<std::size_t>(layer)];
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::int64_t begin = cu_seqlens[i];
      const std::int64_t end = cu_seqlens[i + 1];
      const std::int64_t row = static_cast<std::int64_t>(slots[i]) * capacity_;
      copy_rows(p.stream, activations.k.slice(begin, end), cache.k.slice(row, row + end - begin));
      copy_rows(p.stream, activations.v.slice(begin, end), cache.v.slice(row, row + end - begin));
    }
    over_batch(p, layer, activations);
  };
  return choose(pass.stream, decoder_.logits(pass, batch, batch.trained_rows, attend), slots, settings);
}

std::vector<std::int32_t> Generator::step(const Pass& pass, std::span<const std::int32_t> tokens,
                                          std::span<const std::int32_t> positions, std::span<const std::size_t> slots,
                                          const SamplingSettings& settings) {
  std::vector<std::int32_t> cu_seqlens(tokens.size() + 1);
  std::iota(cu_seqlens.begin(), cu_seqlens.end(), 0);
  const std::span<const std::int32_t> rows(cu_seqlens.data(), tokens.size());
  const Batch batch = batch_.upload(pass.stream, {.ids = tokens,
                                                  .positions = positions,
                                                  .cu_seqlens = cu_seqlens,
                                                  .trained_rows = rows,
                                                  .targets = rows,
                                                  .max_seqlen = 1});
  const std::vector<std::int32_t> host_slots(slots.begin(), slots.end());
  const Tensor device_slots = slots_.slice(0, batch.tokens());
  pass.stream.copy_to_device(device_slots, host_slots.data());
  const Attend attend = [&](const Pass& p, std::int64_t layer, const LayerActivations& activations) {
    const Cache& cache = caches_[static_cast<std::size_t>(layer)];
    ops::attention_decode(p.stream, {.shape = attention_shape(decoder_.config()),
                                     .q = activations.q,
                                     .k = activations.k,
                                     .v = activations.v,
                                     .k_cache = cache.k,
                                     .v_cache = cache.v,
                                     .capacity = capacity_,
                                     .slots = device_slots,
                                     .positions = batch.positions,
                                     .out = activations.attention.columns(0, activations.q.columns())});
  };
  return choose(pass.stream, decoder_.logits(pass, batch, batch.trained_rows, attend), slots, settings);
}

std::vector<std::vector<std::int32_t>> Generator::generate(Stream& stream,
                                                           std::span<const std::vector<std::int32_t>> prompts,
                                                           const SamplingSettings& settings, const OnToken& on_token) {
  PRIMUS_CHECK(static_cast<std::int64_t>(prompts.size()) <= sequences_, prompts.size(), sequences_);
  const Pass pass{.stream = stream};
  const auto max_tokens = static_cast<std::size_t>(decoder_.options().max_tokens);
  draws_.assign(prompts.size(), 0);
  std::vector<std::int32_t> next;
  for (std::size_t first = 0; first < prompts.size();) {
    std::size_t last = first;
    std::size_t tokens = 0;
    while (last < prompts.size() && tokens + prompts[last].size() <= max_tokens) tokens += prompts[last++].size();
    PRIMUS_CHECK(last > first, prompts[first].size(), max_tokens);
    const auto some = prefill(pass, prompts, first, last, settings);
    next.insert(next.end(), some.begin(), some.end());
    first = last;
  }

  std::vector<std::vector<std::int32_t>> answers(prompts.size());
  std::vector<std::size_t> active(prompts.size());
  std::iota(active.begin(), active.end(), std::size_t{0});
  while (true) {
    std::vector<std::size_t> going_on;
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> positions;
    for (std::size_t i = 0; i < active.size(); ++i) {
      const std::size_t slot = active[i];
      const std::int32_t token = next[i];
      const auto& stops = settings.stop_tokens;
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) continue;
      const auto position = static_cast<std::int64_t>(prompts[slot].size() + answers[slot].size());
      if (static_cast<std::int64_t>(answers[slot].size()) >= settings.max_new_tokens) continue;
      answers[slot].push_back(token);
      if (on_token) on_token(slot, token);
      if (position + 1 >= capacity_) continue;
      going_on.push_back(slot);
      tokens.push_back(token);
      positions.push_back(static_cast<std::int32_t>(position));
    }
    if (going_on.empty()) return answers;
    next = step(pass, tokens, positions, going_on, settings);
    active = std::move(going_on);
  }
}

}  // namespace primus::model
