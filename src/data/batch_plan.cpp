#include "data/batch_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "data/assemble.h"

namespace primus::data {
namespace {

constexpr std::size_t kEpochsKept = 2;  // a step may wrap from one into the next

enum class Draw : std::uint64_t { kEpoch = 1, kSource = 2, kTies = 3 };

/// Streams of random numbers that are drawn for nothing else.
Philox random_stream(std::uint64_t seed, Draw draw, std::uint64_t source, std::uint64_t number) {
  return {seed, static_cast<std::uint64_t>(draw) << 60 | source << 40 | number};
}

void check_sizes(const TokenSet& set, const BatchPlanSettings& s) {
  if (s.global_batch_size < 1 || s.micro_batch_size < 1 || s.seq_length < 1) {
    throw bad_input("global_batch_size ({}), micro_batch_size ({}) and seq_length ({}) must be at least 1",
                    s.global_batch_size, s.micro_batch_size, s.seq_length);
  }
  PRIMUS_CHECK(s.data_parallel_size >= 1 && s.data_parallel_rank >= 0 && s.data_parallel_rank < s.data_parallel_size,
               s.data_parallel_rank, s.data_parallel_size);
  if (s.global_batch_size % (s.micro_batch_size * s.data_parallel_size) != 0) {
    throw bad_input("global_batch_size ({}) must be a multiple of micro_batch_size ({}) × data-parallel size ({})",
                    s.global_batch_size, s.micro_batch_size, s.data_parallel_size);
  }
  if (set.empty()) throw bad_input("the data set has no rows to train on");
  for (std::uint32_t row = 0; row < set.rows(); ++row) {
    PRIMUS_CHECK(set.trained_tokens(row) > 0, set.place(row));
    PRIMUS_CHECK(set.length(row) <= s.seq_length, set.place(row), set.length(row), s.seq_length);
  }
}

void check_weights(const TokenSet& set, const std::vector<double>& weights) {
  if (weights.size() != static_cast<std::size_t>(set.sources())) {
    throw bad_input("dataset.weights has {} numbers for {} sources; give one for each path", weights.size(),
                    set.sources());
  }
  for (const double weight : weights) {
    if (!(weight >= 0) || weight > 1e6) {
      throw bad_input("dataset.weights: {} is not a number from 0 to 1000000 (how often an epoch holds that source)",
                      weight);
    }
  }
}

}  // namespace

struct BatchPlan::Epochs {
  struct Entry {
    std::int64_t number = -1;
    std::shared_ptr<const std::vector<std::uint32_t>> order;
  };
  std::mutex mutex;
  std::vector<Entry> latest;
};

BatchPlan::BatchPlan(TokenSet set, BatchPlanSettings settings)
    : set_(std::move(set)), settings_(std::move(settings)), epochs_(std::make_shared<Epochs>()) {
  check_sizes(set_, settings_);
  if (!settings_.source_weights.empty()) check_weights(set_, settings_.source_weights);
  micro_batches_ = settings_.global_batch_size / (settings_.micro_batch_size * settings_.data_parallel_size);
  make_units();
  make_bounds();
}

void BatchPlan::make_units() {
  // Rows of one source stand together; without weights all sources count as one.
  const bool weighted = !settings_.source_weights.empty();
  const auto rows = static_cast<std::uint32_t>(set_.rows());
  std::vector<std::uint32_t> begins(1, 0);
  if (weighted) {
    for (std::uint32_t row = 0; row < rows; ++row) {
      const auto source = static_cast<std::size_t>(set_.source(row));
      PRIMUS_CHECK(source + 1 >= begins.size(), source, begins.size());
      while (begins.size() <= source) begins.push_back(row);
    }
    while (begins.size() < settings_.source_weights.size()) begins.push_back(rows);
  }
  begins.push_back(rows);

  packs_.offsets.assign(1, 0);
  for (std::size_t source = 0; source + 1 < begins.size(); ++source) {
    const std::uint32_t first_row = begins[source], count = begins[source + 1] - first_row;
    Source units{.first = first_row, .count = count};
    if (settings_.packed) {
      std::vector<std::int64_t> lengths(count);
      for (std::uint32_t i = 0; i < count; ++i) lengths[i] = set_.length(first_row + i);
      std::optional<Philox> ties;
      if (settings_.shuffle) ties = random_stream(settings_.seed, Draw::kTies, source, 0);
      const Packs packs = pack_first_fit_decreasing(lengths, settings_.seq_length, ties);
      units = {.first = static_cast<std::uint32_t>(packs_.count()), .count = static_cast<std::uint32_t>(packs.count())};
      const std::uint32_t rows_before = packs_.offsets.back();
      for (const std::uint32_t row : packs.rows) packs_.rows.push_back(first_row + row);
      for (std::size_t p = 1; p < packs.offsets.size(); ++p) packs_.offsets.push_back(rows_before + packs.offsets[p]);
    }
    units_ += units.count;
    if (weighted) sources_.push_back(units);
  }
  units_per_epoch_ = units_;
  if (weighted) make_sources();
}

void BatchPlan::make_sources() {
  double total = 0;
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    const double weight = settings_.source_weights[s];
    if (weight == 0 || sources_[s].count == 0) continue;
    total += std::max(1.0, std::round(weight * sources_[s].count));
    if (total > std::numeric_limits<std::uint32_t>::max()) {
      throw bad_input(
          "dataset.weights make an epoch of more than {} rows; lower them (only their ratios matter to "
          "the mixture)",
          std::numeric_limits<std::uint32_t>::max());
    }
    sources_[s].per_epoch = static_cast<std::uint32_t>(std::max(1.0, std::round(weight * sources_[s].count)));
  }
  if (total == 0) throw bad_input("dataset.weights leave nothing to train on: every source with rows has weight 0");
  units_per_epoch_ = static_cast<std::int64_t>(total);
}

void BatchPlan::make_bounds() {
  MicroBatchBounds unit;
  const auto measure = [&](std::span<const std::uint32_t> rows) {
    std::int64_t tokens = 0, trained = 0;
    for (const std::uint32_t row : rows) {
      tokens += set_.length(row);
      trained += set_.trained_tokens(row);
      unit.max_seqlen = std::max(unit.max_seqlen, set_.length(row));
    }
    unit.tokens = std::max(unit.tokens, tokens);
    unit.trained_rows = std::max(unit.trained_rows, trained);
    unit.documents = std::max(unit.documents, static_cast<std::int64_t>(rows.size()));
  };
  if (settings_.packed) {
    for (std::int64_t pack = 0; pack < packs_.count(); ++pack) measure(packs_[pack]);
  } else {
    for (std::uint32_t row = 0; row < set_.rows(); ++row) measure({&row, 1});
  }
  // A micro-batch that wraps over epochs may hold the largest unit several times.
  bounds_ = {.tokens = with_filler(unit.tokens * settings_.micro_batch_size),
             .documents = unit.documents * settings_.micro_batch_size,
             .trained_rows = unit.trained_rows * settings_.micro_batch_size,
             .max_seqlen = unit.max_seqlen + kMostFiller};
}

std::vector<std::uint32_t> BatchPlan::draw_from_sources(std::int64_t epoch) const {
  struct Drawn {
    double place;  // in [0, 1): evenly over the epoch
    std::uint32_t unit;
  };
  std::vector<Drawn> drawn;
  drawn.reserve(static_cast<std::size_t>(units_per_epoch_));
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    const Source& source = sources_[s];
    std::int64_t pass = -1;
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < source.per_epoch; ++i) {
      const std::int64_t position = epoch * source.per_epoch + i;
      auto unit = static_cast<std::uint32_t>(position % source.count);
      if (settings_.shuffle) {
        if (pass != position / source.count) {
          pass = position / source.count;
          order = permutation(source.count,
                              random_stream(settings_.seed, Draw::kSource, s, static_cast<std::uint64_t>(pass)));
        }
        unit = order[unit];
      }
      drawn.push_back({(i + 0.5) / source.per_epoch, source.first + unit});
    }
  }
  std::stable_sort(drawn.begin(), drawn.end(), [](const Drawn& a, const Drawn& b) { return a.place < b.place; });
  std::vector<std::uint32_t> units;
  units.reserve(drawn.size());
  for (const Drawn& d : drawn) units.push_back(d.unit);
  return units;
}

std::vector<std::uint32_t> BatchPlan::epoch_order(std::int64_t epoch) const {
  const auto count = static_cast<std::uint32_t>(units_per_epoch_);
  std::vector<std::uint32_t> order;
  if (settings_.shuffle) {
    order = permutation(count, random_stream(settings_.seed, Draw::kEpoch, 0, static_cast<std::uint64_t>(epoch)));
  } else {
    order.resize(count);
    std::iota(order.begin(), order.end(), 0U);
  }
  if (sources_.empty()) return order;
  const std::vector<std::uint32_t> units = draw_from_sources(epoch);
  for (std::uint32_t& index : order) index = units[index];
  return order;
}

std::shared_ptr<const std::vector<std::uint32_t>> BatchPlan::epoch(std::int64_t number) const {
  const std::lock_guard lock(epochs_->mutex);
  for (const auto& entry : epochs_->latest) {
    if (entry.number == number) return entry.order;
  }
  auto order = std::make_shared<const std::vector<std::uint32_t>>(epoch_order(number));
  if (epochs_->latest.size() == kEpochsKept) epochs_->latest.erase(epochs_->latest.begin());
  epochs_->latest.push_back({number, order});
  return order;
}

std::vector<std::uint32_t> BatchPlan::rows_between(std::int64_t first_slot, std::int64_t count) const {
  std::vector<std::uint32_t> rows;
  std::int64_t number = -1;
  std::shared_ptr<const std::vector<std::uint32_t>> order;
  for (std::int64_t slot = first_slot; slot < first_slot + count; ++slot) {
    if (number != slot / units_per_epoch_) {
      number = slot / units_per_epoch_;
      order = epoch(number);
    }
    const std::uint32_t unit = (*order)[static_cast<std::size_t>(slot % units_per_epoch_)];
    if (settings_.packed) {
      const auto pack = packs_[unit];
      rows.insert(rows.end(), pack.begin(), pack.end());
    } else {
      rows.push_back(unit);
    }
  }
  return rows;
}

std::vector<std::uint32_t> BatchPlan::rows(std::int64_t step, std::int64_t micro_batch) const {
  return rows(step, micro_batch, settings_.data_parallel_rank);
}

std::vector<std::uint32_t> BatchPlan::rows(std::int64_t step, std::int64_t micro_batch, int rank) const {
  PRIMUS_CHECK(step >= 0 && micro_batch >= 0 && micro_batch < micro_batches_, step, micro_batch, micro_batches_);
  PRIMUS_CHECK(rank >= 0 && rank < settings_.data_parallel_size, rank, settings_.data_parallel_size);
  const std::int64_t in_step = (micro_batch * settings_.data_parallel_size + rank) * settings_.micro_batch_size;
  return rows_between(step * settings_.global_batch_size + in_step, settings_.micro_batch_size);
}

std::vector<std::uint32_t> BatchPlan::global_rows(std::int64_t step) const {
  PRIMUS_CHECK(step >= 0, step);
  return rows_between(step * settings_.global_batch_size, settings_.global_batch_size);
}

std::int64_t BatchPlan::trained_tokens(std::int64_t step) const {
  std::int64_t sum = 0;
  for (const std::uint32_t row : global_rows(step)) sum += set_.trained_tokens(row);
  return sum;
}

std::int64_t BatchPlan::tokens(std::int64_t step) const {
  std::int64_t sum = 0;
  for (const std::uint32_t row : global_rows(step)) sum += set_.length(row);
  return sum;
}

void BatchPlan::assemble(std::int64_t step, std::int64_t micro_batch, MicroBatch& out) const {
  data::assemble(set_, rows(step, micro_batch), out);
}

double BatchPlan::efficiency() const {
  return static_cast<double>(set_.total_tokens()) /
         (static_cast<double>(units_) * static_cast<double>(settings_.seq_length));
}

}  // namespace primus::data
