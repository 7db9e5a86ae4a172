#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/batch.h"
#include "data/packing.h"
#include "data/token_set.h"

namespace primus::data {

struct BatchPlanSettings {
  std::int64_t global_batch_size = 1;  // rows of a step over all ranks; packs when packed
  std::int64_t micro_batch_size = 1;   // rows (packs) of one forward and backward pass on one rank
  std::int64_t seq_length = 2048;      // tokens that a pack holds; no row may be longer
  bool packed = false;
  bool shuffle = true;
  std::uint64_t seed = 5678;
  /// How often an epoch holds each source; empty: every source once. See BatchPlan.
  std::vector<double> source_weights;
  int data_parallel_rank = 0;
  int data_parallel_size = 1;
};

/// The most that any micro-batch of a plan can hold: what to allocate before the first step.
struct MicroBatchBounds {
  std::int64_t tokens = 0;  // filler included, a multiple of kTokenMultiple
  std::int64_t documents = 0;
  std::int64_t trained_rows = 0;
  std::int64_t max_seqlen = 0;  // filler included
};

/// Which rows each step trains: a pure function of the set, the settings and the step (from 0), so that a resumed run
/// continues without a replay and every rank knows the whole global batch.
///
/// A unit is a row, or a pack of rows when packed (first-fit decreasing over the whole set; a row is never split).
/// An epoch is every unit once, permuted by (seed, epoch) unless shuffle is false: then units come in file order, packs
/// in the order of their lowest row. Step k takes the units k·G … (k + 1)·G - 1 of the endless row of epochs, G being
/// global_batch_size; a step may wrap over epochs. Of these, micro-batch m of rank r takes micro_batch_size units from
/// (m · data_parallel_size + r) · micro_batch_size on, as Megatron's sampler does.
///
/// With source_weights, packs hold rows of one source each, and an epoch holds round(weight · units) units of a source
/// (at least one unless the weight is 0): 2 is every unit twice, 0.5 every other one. They are drawn from permutations
/// of that source one after the other, so that over the epochs no unit is seen twice more often than another. Without
/// shuffle they are taken in order, and the sources are interleaved evenly.
///
/// Const members may be called from many threads.
class BatchPlan {
 public:
  /// Throws Error when the batch sizes do not divide, the rank is out of range, the set is empty, or weights are not
  /// one a source, negative or all 0.
  BatchPlan(TokenSet set, BatchPlanSettings settings);

  /// Micro-batches of one step on each rank (gradient accumulation).
  std::int64_t micro_batches() const { return micro_batches_; }
  /// The rows of one micro-batch of this plan's rank.
  std::vector<std::uint32_t> rows(std::int64_t step, std::int64_t micro_batch) const;
  /// … of another rank.
  std::vector<std::uint32_t> rows(std::int64_t step, std::int64_t micro_batch, int rank) const;
  /// All rows of a step over all ranks, in order.
  std::vector<std::uint32_t> global_rows(std::int64_t step) const;
  /// Trained target tokens of a step over all ranks: the normaliser of its loss. Never 0.
  std::int64_t trained_tokens(std::int64_t step) const;
  /// Tokens of a step over all ranks, without filler.
  std::int64_t tokens(std::int64_t step) const;
  /// The rows of one micro-batch of this rank, laid out.
  void assemble(std::int64_t step, std::int64_t micro_batch, MicroBatch& out) const;

  MicroBatchBounds bounds() const { return bounds_; }
  /// Rows (packs) of one epoch.
  std::int64_t units_per_epoch() const { return units_per_epoch_; }
  /// Rows (packs) of the set.
  std::int64_t units() const { return units_; }
  /// Tokens of all packs by the tokens that they could hold; of unpacked rows likewise, by seq_length.
  double efficiency() const;

  const TokenSet& set() const { return set_; }
  const BatchPlanSettings& settings() const { return settings_; }

 private:
  struct Source {
    std::uint32_t first = 0;  // its units are first … first + count - 1
    std::uint32_t count = 0;
    std::uint32_t per_epoch = 0;  // units that an epoch takes
  };
  struct Epochs;  // the orders of the epochs used last

  void make_units();
  void make_sources();
  void make_bounds();
  std::vector<std::uint32_t> epoch_order(std::int64_t epoch) const;
  std::vector<std::uint32_t> draw_from_sources(std::int64_t epoch) const;
  std::shared_ptr<const std::vector<std::uint32_t>> epoch(std::int64_t number) const;
  std::vector<std::uint32_t> rows_between(std::int64_t first_slot, std::int64_t count) const;

  TokenSet set_;
  BatchPlanSettings settings_;
  std::int64_t micro_batches_ = 0;
  std::int64_t units_ = 0;
  std::int64_t units_per_epoch_ = 0;
  Packs packs_;                  // empty unless packed
  std::vector<Source> sources_;  // empty without weights
  MicroBatchBounds bounds_;
  std::shared_ptr<Epochs> epochs_;
};

struct EvalPlanSettings {
  std::int64_t eval_iters = 32;  // global batches of one evaluation, at least 1
  std::int64_t global_batch_size = 1;
  std::int64_t micro_batch_size = 1;
  std::int64_t seq_length = 2048;
  bool packed = false;
  int data_parallel_rank = 0;
  int data_parallel_size = 1;
};

/// The fixed micro-batches of an evaluation. Units are rows in order; when packed, packs of up to seq_length tokens
/// (first-fit decreasing over the whole set, in the order of their lowest row), as in training without shuffle. The
/// first eval_iters · global_batch_size units are evaluated, or all when there are fewer: every row at most once, so
/// that numbers compare between steps, runs and layouts. Micro-batches are micro_batch_size units each (the last may be
/// smaller); micro-batch k goes to rank k mod data_parallel_size, so ranks may differ by one.
class EvalPlan {
 public:
  /// Throws Error when the set is empty or eval_iters is below 1.
  EvalPlan(TokenSet set, const EvalPlanSettings& settings);

  /// Micro-batches of this plan's rank; may be 0 on a rank.
  std::int64_t micro_batches() const { return static_cast<std::int64_t>(own_.size()); }
  std::span<const std::uint32_t> rows(std::int64_t micro_batch) const;
  void assemble(std::int64_t micro_batch, MicroBatch& out) const;

  /// Over all ranks.
  std::int64_t total_rows() const { return total_rows_; }
  std::int64_t trained_tokens() const { return trained_tokens_; }
  MicroBatchBounds bounds() const { return bounds_; }
  const TokenSet& set() const { return set_; }

 private:
  /// The rows of the micro-batch that begins with `unit`.
  std::span<const std::uint32_t> rows_from(std::int64_t unit) const;

  TokenSet set_;
  Packs units_;                    // unpacked: one row each
  std::vector<std::int64_t> own_;  // the first unit of each micro-batch of this rank
  std::int64_t units_evaluated_ = 0;
  std::int64_t micro_batch_size_ = 1;
  std::int64_t total_rows_ = 0;
  std::int64_t trained_tokens_ = 0;
  MicroBatchBounds bounds_;
};

}  // namespace primus::data
