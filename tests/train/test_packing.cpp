#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/assemble.h"
#include "ops/step_state.h"
#include "reference.h"

/// Packs change how rows are laid out, and nothing else.
namespace primus::train {
namespace {

class Packing : public testing::TestWithParam<reference::ModelOnDevice> {
 protected:
  const std::string& model() const { return GetParam().model; }

  Trainer trainer(bool packed) const {
    config::RunConfig config = reference::run_config(
        model(), reference::read_json(reference::folder(model()) / "sft.json"), /*lora=*/false, GetParam().device);
    config.workspace = testing::TempDir() + "primus_packing";
    config.packed_sequence = packed;
    config.micro_batch_size = 4;
    config.eval_iters = 1000;
    return Trainer(reference::job(model(), config, GetParam().device));
  }
};

struct Step {
  std::vector<float> gradients;
  double loss = 0.0;
};

/// The gradient of the mean loss over `batches`, each a micro-batch of rows filled up with `filler`.
Step step_over(Trainer& trainer, const data::TokenSet& set, const std::vector<std::vector<std::uint32_t>>& batches,
               std::int32_t filler = 0) {
  std::int64_t trained = 0;
  for (const auto& rows : batches) {
    for (const std::uint32_t row : rows) trained += set.trained_tokens(row);
  }
  Stream& stream = trainer.stream();
  DeviceMemory& memory = trainer.memory();
  ops::begin_step(stream, memory.state);
  data::MicroBatch host;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    data::assemble(set, batches[i], host);
    std::fill(host.ids.begin() + host.real_tokens, host.ids.end(), filler);
    const model::Pass pass{.stream = stream, .training = true, .accumulate = i > 0};
    memory.decoder.forward_backward(pass, upload(stream, memory, host), 1.0F / static_cast<float>(trained),
                                    memory.state);
  }
  ops::StepState state{};
  stream.copy_to_host(&state, memory.state);
  return {reference::values(stream, memory.decoder.flat().gradients), state.loss_sum / static_cast<double>(trained)};
}

TEST_P(Packing, GivesTheGradientOfTheRowsOnTheirOwn) {
  Trainer trainer = this->trainer(false);
  const data::TokenSet set = reference::rows(model());
  std::vector<std::int64_t> lengths;
  for (std::uint32_t row = 0; row < set.rows(); ++row) lengths.push_back(set.length(row));
  const data::Packs packs = data::pack_first_fit_decreasing(lengths, 256);
  std::vector<std::vector<std::uint32_t>> packed, alone;
  for (std::int64_t p = 0; p < packs.count(); ++p) packed.emplace_back(packs[p].begin(), packs[p].end());
  for (std::uint32_t row = 0; row < set.rows(); ++row) alone.push_back({row});
  ASSERT_LT(packed.size(), alone.size());
  const Step want = step_over(trainer, set, alone), got = step_over(trainer, set, packed);
  EXPECT_NEAR(got.loss, want.loss, 1e-6 * want.loss);
  EXPECT_LT(reference::relative_difference(got.gradients, want.gradients), 1e-6);
}

TEST_P(Packing, FillerTrainsNothing) {
  Trainer trainer = this->trainer(false);
  const data::TokenSet set = reference::rows(model());
  const std::vector<std::vector<std::uint32_t>> batches = {{0}, {1, 2}};
  for (const auto& rows : batches) {
    const data::MicroBatch batch = data::assemble(set, rows);
    ASSERT_LT(batch.real_tokens, static_cast<std::int64_t>(batch.ids.size())) << "there is no filler";
  }
  const Step zeros = step_over(trainer, set, batches, 0), others = step_over(trainer, set, batches, 9);
  EXPECT_EQ(zeros.loss, others.loss) << "bit for bit";
  EXPECT_EQ(zeros.gradients, others.gradients);
}

TEST_P(Packing, GivesTheSameEvaluationLoss) {
  const data::TokenSet set = reference::rows(model());
  Trainer trainer = this->trainer(false);
  const data::EvalPlanSettings plain{.eval_iters = 1000, .seq_length = 256};
  data::EvalPlanSettings packed = plain;
  packed.packed = true;
  const data::EvalPlan rows(set, plain), packs(set, packed);
  ASSERT_LT(packs.micro_batches(), rows.micro_batches());
  const Evaluation want = evaluate(trainer.stream(), trainer.memory(), rows);
  const Evaluation got = evaluate(trainer.stream(), trainer.memory(), packs);
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_NEAR(got.loss, want.loss, 1e-6 * want.loss);
}

/// Logits after every token of document `document` of a pack.
std::vector<float> logits_of(Trainer& trainer, const data::MicroBatch& host, std::size_t document) {
  DeviceMemory& memory = trainer.memory();
  const model::Batch batch = upload(trainer.stream(), memory, host);
  std::vector<std::int32_t> rows;
  for (std::int32_t t = host.cu_seqlens[document]; t < host.cu_seqlens[document + 1]; ++t) rows.push_back(t);
  const reference::RowIndex index(trainer.stream(), rows);
  const model::Pass pass{.stream = trainer.stream()};
  return reference::values(trainer.stream(), memory.decoder.logits(pass, batch, index.tensor,
                                                                   model::attend_over(memory.decoder.config(), batch)));
}

TEST_P(Packing, DocumentsDoNotSeeEachOther) {
  Trainer trainer = this->trainer(true);
  const data::TokenSet set = reference::rows(model());
  data::MicroBatch host = data::assemble(set, std::vector<std::uint32_t>{0, 1, 2});
  const std::vector<float> first = logits_of(trainer, host, 0), changed = logits_of(trainer, host, 1),
                           last = logits_of(trainer, host, 2);
  for (std::int32_t t = host.cu_seqlens[1]; t < host.cu_seqlens[2]; ++t) {
    host.ids[static_cast<std::size_t>(t)] = (host.ids[static_cast<std::size_t>(t)] + 7) % 100;
  }
  EXPECT_EQ(logits_of(trainer, host, 0), first) << "bit for bit";
  EXPECT_EQ(logits_of(trainer, host, 2), last);
  EXPECT_NE(logits_of(trainer, host, 1), changed);
}

INSTANTIATE_TEST_SUITE_P(Models, Packing, testing::ValuesIn(reference::on_all_devices({"qwen3", "llama31"})),
                         [](const auto& info) { return reference::name_of(info.param); });

}  // namespace
}  // namespace primus::train
