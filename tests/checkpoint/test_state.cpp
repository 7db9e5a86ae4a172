#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/state_manifest.h"
#include "checkpoint/training_state.h"
#include "support.h"

namespace primus::checkpoint {
namespace {

class State : public testing::Test {
 protected:
  State() : config_(model::load_model_config(reference("qwen2") / "hf")) {}

  static void fill_all(TinyModel& memory, std::uint64_t seed) {
    for (model::Parameter& parameter : memory.registry().all()) {
      if (parameter.weight && parameter.master.data() != parameter.weight.data()) fill(parameter.weight, ++seed);
      if (!parameter.trainable) continue;
      fill(parameter.master, ++seed);
      fill(parameter.exp_avg, ++seed);
      fill(parameter.exp_avg_sq, ++seed);
    }
  }

  static TrainingState example(std::int64_t iteration) {
    TrainingState state;
    state.iteration = iteration;
    state.consumed_rows = 128 * iteration;
    state.seed = 0xFEDCBA9876543210ULL;
    state.counters = {{"updates", iteration}, {"skipped", -3}};
    state.numbers = {{"loss_scale", 65536.0},
                     {"third", 1.0 / 3.0},
                     {"denormal", std::numeric_limits<double>::denorm_min()},
                     {"infinite", std::numeric_limits<double>::infinity()},
                     {"minus_zero", -0.0}};
    state.config_json = R"({"train_iters": 10, "text": "\"quoted\" ü"})";
    state.layout.data_parallel = 2;
    state.base_path = "models/base";
    state.base_fingerprint = "crc32c:00112233";
    return state;
  }

  static void expect_equal(const TrainingState& a, const TrainingState& b) {
    EXPECT_EQ(a.iteration, b.iteration);
    EXPECT_EQ(a.consumed_rows, b.consumed_rows);
    EXPECT_EQ(a.seed, b.seed);
    EXPECT_EQ(a.counters, b.counters);
    EXPECT_EQ(a.numbers, b.numbers);
    EXPECT_EQ(a.config_json, b.config_json);
    EXPECT_EQ(a.layout, b.layout);
    EXPECT_EQ(a.base_path, b.base_path);
    EXPECT_EQ(a.base_fingerprint, b.base_fingerprint);
  }

  model::ModelConfig config_;
  TemporaryFolder folder_;
};

TEST_F(State, ComesBackBitForBit) {
  TinyModel memory(config_, {.compute = DType::kBF16, .moments = DType::kBF16});
  fill_all(memory, 1);
  save_state(folder_ / "state", example(50), memory.registry(), memory.stream());
  TinyModel again(config_, {.compute = DType::kBF16, .moments = DType::kBF16});
  fill_all(again, 1000);
  const VerifiedState saved(folder_ / "state");
  const TrainingState& state = saved.state();
  load_state(saved, again.registry(), again.stream(), "crc32c:00112233");
  expect_equal(state, example(50));
  EXPECT_TRUE(std::signbit(state.numbers.at("minus_zero")));
  for (const model::Parameter& parameter : memory.registry().all()) {
    const model::Parameter& other = again[parameter.name];
    EXPECT_EQ(values(parameter.master), values(other.master)) << parameter.name;
    EXPECT_EQ(values(parameter.exp_avg), values(other.exp_avg)) << parameter.name;
    EXPECT_EQ(values(parameter.exp_avg_sq), values(other.exp_avg_sq)) << parameter.name;
    std::vector<float> rounded = values(parameter.master);
    for (float& value : rounded) value = static_cast<float>(BFloat16(value));
    EXPECT_EQ(values(other.weight), rounded) << parameter.name;
  }
}

TEST_F(State, OfAdaptersLeavesTheBaseOut) {
  const TinyOptions options{.compute = DType::kBF16, .train_base = false, .lora_rank = 4, .lora_alpha = 8.0};
  TinyModel memory(config_, options);
  fill_all(memory, 1);
  save_state(folder_ / "state", example(1), memory.registry(), memory.stream());
  const SafetensorsFile file(folder_ / "state/rank_00000.safetensors");
  for (const StoredTensor& tensor : file.tensors()) {
    EXPECT_NE(tensor.name.find("lora_"), std::string::npos) << tensor.name;
  }
  TinyModel again(config_, options);
  fill_all(again, 1000);
  load_state(VerifiedState(folder_ / "state"), again.registry(), again.stream());
  const model::Parameter& b = again["model.layers.0.self_attn.o_proj.lora_B.weight"];
  std::vector<float> scaled = values(memory[b.name].master);
  EXPECT_EQ(values(b.master), scaled);
  for (float& value : scaled) value = static_cast<float>(BFloat16(2.0F * value));
  EXPECT_EQ(values(b.published), scaled);

  expect_error(
      [&] { load_state(VerifiedState(folder_ / "state"), again.registry(), again.stream(), "crc32c:99999999"); },
      {"models/base", "crc32c:00112233", "crc32c:99999999", "same base"});
}

TEST_F(State, OfAnotherRunIsRefused) {
  TinyModel memory(config_, {.lora_rank = 4});
  fill_all(memory, 1);
  save_state(folder_ / "state", example(1), memory.registry(), memory.stream());
  TinyModel full(config_, {});
  expect_error([&] { load_state(VerifiedState(folder_ / "state"), full.registry(), full.stream()); },
               {"lora_", "does not train"});
  TinyModel wider(config_, {.lora_rank = 8});
  expect_error([&] { load_state(VerifiedState(folder_ / "state"), wider.registry(), wider.stream()); },
               {"lora_", "shape"});
  save_state(folder_ / "full", example(1), full.registry(), full.stream());
  model::ModelConfig deeper = config_;
  deeper.num_hidden_layers = 3;
  TinyModel more(deeper, {});
  expect_error([&] { load_state(VerifiedState(folder_ / "full"), more.registry(), more.stream()); },
               {"layers.2", "has no"});
}

TEST_F(State, IsAssembledFromSlices) {
  // one matrix written by four processes: two halves of its rows, each in two halves of its columns
  TinyModel memory(config_, {.lora_rank = 4});
  fill_all(memory, 1);
  save_state(folder_ / "state", example(1), memory.registry(), memory.stream());
  const std::string name = "exp_avg.model.layers.0.mlp.up_proj.lora_A.weight";
  const std::vector<float> expected = values(memory["model.layers.0.mlp.up_proj.lora_A.weight"].exp_avg);
  const auto rows = std::int64_t{4}, columns = std::int64_t{64};

  StateManifest manifest = read_verified_manifest(folder_ / "state");
  StateTensor& tensor = manifest.tensors.at(name);
  tensor.slices.clear();
  for (std::int64_t part = 0; part < 4; ++part) {
    const std::int64_t row = part / 2 * 2, column = part % 2 * 32;
    const std::string file = fmt::format("rank_{:05}.safetensors", part + 1);
    std::vector<float> block;
    for (std::int64_t i = row; i < row + rows / 2; ++i) {
      for (std::int64_t j = column; j < column + columns / 2; ++j) {
        block.push_back(expected[static_cast<std::size_t>(i * columns + j)]);
      }
    }
    SafetensorsWriter writer(folder_.path() / "state" / file, {{name, DType::kF32, {rows / 2, columns / 2}}});
    writer.write(std::as_bytes(std::span(block)));
    manifest.files.push_back({file, writer.size(), writer.crc32c()});
    writer.finish();
    tensor.slices.push_back({file, {row, column}, {rows / 2, columns / 2}});
  }
  write_bytes(folder_ / "state/state.json", manifest_text(manifest));
  TinyModel again(config_, {.lora_rank = 4});
  fill_all(again, 1000);
  load_state(VerifiedState(folder_ / "state"), again.registry(), again.stream());
  EXPECT_EQ(values(again["model.layers.0.mlp.up_proj.lora_A.weight"].exp_avg), expected);

  tensor.slices.pop_back();
  write_bytes(folder_ / "state/state.json", manifest_text(manifest));
  expect_error([&] { load_state(VerifiedState(folder_ / "state"), again.registry(), again.stream()); },
               {name, "leave parts"});
}

TEST_F(State, EveryChangedByteIsSeen) {
  TinyModel memory(config_, {.lora_rank = 4});
  fill_all(memory, 1);
  const fs::path state = folder_ / "state";
  save_state(state, example(1), memory.registry(), memory.stream());
  EXPECT_EQ(VerifiedState(state).state().iteration, 1);
  for (const char* name : {"state.json", "rank_00000.safetensors"}) {
    const std::string whole = read_bytes(state / name);
    const std::size_t step = std::max<std::size_t>(1, whole.size() / 100);
    for (std::size_t at = 0; at < whole.size(); at += at + 100 < whole.size() ? step : 1) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ 0x04);
      write_bytes(state / name, bytes);
      expect_error([&] { VerifiedState broken(state); }, {name});
    }
    for (const std::size_t length : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      write_bytes(state / name, whole.substr(0, length));
      expect_error([&] { VerifiedState broken(state); }, {name});
    }
    write_bytes(state / name, whole + "\n");
    expect_error([&] { VerifiedState broken(state); }, {name});
    fs::remove(state / name);
    expect_error([&] { VerifiedState broken(state); }, {name});
    write_bytes(state / name, whole);
    EXPECT_EQ(VerifiedState(state).state().iteration, 1);
  }
}

TEST_F(State, AManifestMayNotNameOtherFolders) {
  StateManifest manifest{.state = example(1)};
  manifest.files.push_back({"../secret", 0, 0});
  expect_error([&] { parse_manifest(manifest_text(manifest), "state.json"); }, {"../secret", "same directory"});
  manifest.files.clear();
  manifest.tensors["a"] = {{4, 4}, {{"x", {2, 0}, {3, 4}}}};
  expect_error([&] { parse_manifest(manifest_text(manifest), "state.json"); }, {"a", "not within"});
}

class StateDirectory : public State {
 protected:
  StateDirectory() : memory_(config_, {.lora_rank = 2}) { fill_all(memory_, 1); }

  void save(std::int64_t iteration) {
    save_checkpoint(folder_.path(), example(iteration), memory_.registry(), memory_.stream());
  }
  std::string latest() const {
    const auto found = find_latest(folder_.path());
    return found ? found->folder().filename().string() : "";
  }
  bool has(const std::string& name) const { return fs::exists(folder_ / name); }

  TinyModel memory_;
};

TEST_F(StateDirectory, TheNewestThatIsWholeIsFound) {
  EXPECT_EQ(latest(), "");
  for (const std::int64_t iteration : {50, 100, 150}) save(iteration);
  EXPECT_EQ(read_bytes(folder_ / "latest"), "iter_0000150\n");
  EXPECT_EQ(latest(), "iter_0000150");
  fs::remove(folder_ / "latest");
  EXPECT_EQ(latest(), "iter_0000150");
  write_bytes(folder_ / "iter_0000150/rank_00000.safetensors", "broken");
  testing::internal::CaptureStderr();
  EXPECT_EQ(latest(), "iter_0000100");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("iter_0000150"), std::string::npos) << log;
  EXPECT_NE(log.find("passed over"), std::string::npos) << log;
  fs::create_directories(folder_ / "iter_0000200");
  fs::rename(folder_ / "iter_0000100", folder_ / "iter_0000175");  // not what its name says
  EXPECT_EQ(latest(), "iter_0000050");
}

TEST_F(StateDirectory, LatestMayPointBack) {
  for (const std::int64_t iteration : {50, 100, 150}) save(iteration);
  write_bytes(folder_ / "latest", "iter_0000100");
  EXPECT_EQ(latest(), "iter_0000100");
  fs::remove_all(folder_ / "iter_0000100");
  EXPECT_EQ(latest(), "iter_0000050");
  write_bytes(folder_ / "latest", "../../etc");
  EXPECT_EQ(latest(), "iter_0000150");
}

TEST_F(StateDirectory, PruneKeepsTheMostRecent) {
  for (const std::int64_t iteration : {50, 100, 150, 200}) save(iteration);
  fs::create_directories(folder_ / "notes");
  fs::create_directories(folder_ / "iter_0000250.partial-999999999");
  prune(folder_.path(), 0);
  EXPECT_TRUE(has("iter_0000050"));
  EXPECT_FALSE(has("iter_0000250.partial-999999999"));
  prune(folder_.path(), 2);
  EXPECT_FALSE(has("iter_0000050"));
  EXPECT_FALSE(has("iter_0000100"));
  EXPECT_TRUE(has("iter_0000150"));
  EXPECT_TRUE(has("iter_0000200"));
  EXPECT_TRUE(has("notes"));
  write_bytes(folder_ / "latest", "iter_0000150");
  prune(folder_.path(), 1);
  EXPECT_TRUE(has("iter_0000150"));
  EXPECT_TRUE(has("iter_0000200"));  // newer than `latest`: of another run
}

TEST_F(StateDirectory, AFullDiskLeavesTheOlderOnes) {
  save(50);
  const std::string message = with_file_size_limit(4096, [&] { save(100); });
  EXPECT_NE(message.find("rank_00000.safetensors"), std::string::npos) << message;
  EXPECT_EQ(latest(), "iter_0000050");
  EXPECT_FALSE(has("iter_0000100"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2);
  save(100);
  EXPECT_EQ(latest(), "iter_0000100");
}

TEST_F(StateDirectory, SavingAgainReplaces) {
  save(50);
  fill_all(memory_, 77);
  save(50);
  TinyModel again(config_, {.lora_rank = 2});
  load_state(VerifiedState(folder_ / "iter_0000050"), again.registry(), again.stream());
  const std::string name = "model.layers.0.self_attn.q_proj.lora_A.weight";
  EXPECT_EQ(values(again[name].master), values(memory_[name].master));
}

}  // namespace
}  // namespace primus::checkpoint
