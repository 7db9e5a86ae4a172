#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "model/config.h"

// Every engine that trains or serves these models rounds the inverse frequencies and the angles to f32: at position
// 100000 that moves an angle by some 1e-3, the same 1e-3 everywhere. So the steps below round where transformers does
// (modeling_rope_utils.py), and only what has no rounding of its own (pow, cos, sin) runs in f64.
namespace primus::model {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

/// base^(2i/dim), (dim / 2)
std::vector<float> wavelengths(double base, std::int64_t dim) {
  std::vector<float> result(static_cast<std::size_t>(dim / 2));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    result[i] = static_cast<float>(std::pow(static_cast<double>(static_cast<float>(base)), exponent));
  }
  return result;
}

std::vector<float> default_frequencies(double base, std::int64_t dim) {
  std::vector<float> result = wavelengths(base, dim);
  for (float& value : result) value = 1.0F / value;
  return result;
}

/// Llama 3.1: long wavelengths are stretched by `factor`, short ones stay, those between are blended.
void apply_llama3(const RopeConfig& rope, std::vector<float>& inv_freq) {
  const auto factor = static_cast<float>(rope.factor);
  const auto original = static_cast<double>(rope.original_max_position_embeddings);
  const auto low_freq_wavelen = static_cast<float>(original / rope.low_freq_factor);
  const auto high_freq_wavelen = static_cast<float>(original / rope.high_freq_factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto width = static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  for (float& value : inv_freq) {
    const float wavelen = static_cast<float>(kTwoPi) / value;
    if (wavelen > low_freq_wavelen) {
      value /= factor;
    } else if (!(wavelen < high_freq_wavelen)) {
      const float smooth = (static_cast<float>(original) / wavelen - low) / width;
      value = (1.0F - smooth) * value / factor + smooth * value;
    }
  }
}

/// The dimension that turns `rotations` times over the original context (YaRN, Peng et al. 2023, section 3.2).
double correction_dim(double rotations, double dim, double base, double original) {
  return dim * std::log(original / (rotations * kTwoPi)) / (2.0 * std::log(base));
}

void apply_yarn(const RopeConfig& rope, std::int64_t dim, std::vector<float>& inv_freq) {
  const auto original = static_cast<double>(rope.original_max_position_embeddings);
  const auto size = static_cast<double>(dim);
  double low = correction_dim(rope.beta_fast, size, rope.theta, original);
  double high = correction_dim(rope.beta_slow, size, rope.theta, original);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, size - 1.0);
  if (low == high) high += 0.001;

  const std::vector<float> pos_freqs = wavelengths(rope.theta, dim);
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float extrapolated = 1.0F - std::clamp(ramp, 0.0F, 1.0F);
    const float interpolation = 1.0F / (static_cast<float>(rope.factor) * pos_freqs[i]);
    inv_freq[i] = interpolation * (1.0F - extrapolated) + inv_freq[i] * extrapolated;
  }
}

/// What yarn multiplies cos and sin with.
double yarn_attention_factor(const RopeConfig& rope) {
  const auto scaled = [&](double mscale) {
    return rope.factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(rope.factor) + 1.0;
  };
  if (rope.attention_factor > 0.0) return rope.attention_factor;
  if (rope.mscale != 0.0 && rope.mscale_all_dim != 0.0) return scaled(rope.mscale) / scaled(rope.mscale_all_dim);
  return scaled(1.0);
}

}  // namespace

RopeTable make_rope_table(const ModelConfig& config, std::int64_t positions) {
  PRIMUS_CHECK(positions >= 0 && config.head_dim > 0 && config.head_dim % 2 == 0, positions, config.head_dim);
  const RopeConfig& rope = config.rope;
  std::vector<float> inv_freq = default_frequencies(rope.theta, config.head_dim);
  float scale = 1.0F;
  switch (rope.type) {
    case RopeType::kDefault:
      break;
    case RopeType::kLinear:
      for (float& value : inv_freq) value /= static_cast<float>(rope.factor);
      break;
    case RopeType::kLlama3:
      apply_llama3(rope, inv_freq);
      break;
    case RopeType::kYarn:
      apply_yarn(rope, config.head_dim, inv_freq);
      scale = static_cast<float>(yarn_attention_factor(rope));
      break;
  }

  RopeTable table;
  const std::size_t half = inv_freq.size();
  table.cos.resize(static_cast<std::size_t>(positions) * half);
  table.sin.resize(static_cast<std::size_t>(positions) * half);
  for (std::size_t position = 0; position < static_cast<std::size_t>(positions); ++position) {
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<float>(position) * inv_freq[i];  // rounded to f32
      table.cos[position * half + i] = static_cast<float>(std::cos(angle)) * scale;
      table.sin[position * half + i] = static_cast<float>(std::sin(angle)) * scale;
    }
  }
  return table;
}

}  // namespace primus::model
