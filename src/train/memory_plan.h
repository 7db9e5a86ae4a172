#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/batch.h"
#include "model/decoder.h"
#include "tensor/arena.h"

namespace primus::train {

/// Everything of a run that lives in device memory, in the order in which it is taken. The same constructor plans (over
/// a measuring arena) and allocates.
struct DeviceMemory {
  DeviceMemory(const model::ModelConfig& config, const model::DecoderOptions& options, Arena& arena);

  /// Uploads what never changes and clears what loading does not write, gives the stream its workspace, and takes the
  /// host memory of the plan. Once, on real memory, before weights are loaded.
  void initialize(Stream& stream);

  model::Decoder decoder;
  model::BatchBuffers batch;
  Tensor workspace;   // what the operations on the stream share; empty where they need none
  Tensor state;       // ops::StepState
  Tensor state_read;  // two copies of it, on their way to the host
};

/// Bytes by kind, the largest items, and what is computed again to need no more.
struct MemoryPlan {
  std::size_t total = 0;       // on the device
  std::size_t host_bytes = 0;  // pinned, for what is offloaded
  std::string recompute;       // describe_recompute
  std::map<MemoryKind, std::size_t> by_kind;
  std::vector<Arena::Entry> largest;  // at most ten, largest first

  /// "weights 256.6 MiB, gradients …: 1.2 GiB in all", and "; host memory for what is offloaded 4.3 GiB, pinned"
  std::string summary() const;
};

MemoryPlan plan_memory(const model::ModelConfig& config, const model::DecoderOptions& options, Device device);

/// What backward computes again: "nothing", "rotated queries and keys of 36 layers, norms of 12 layers", "all but
/// attention of 36 layers"
std::string describe_recompute(const model::ModelConfig& config, const model::DecoderOptions& options);

/// "1.2 GiB", "256.6 MiB"
std::string format_bytes(std::size_t bytes);

}  // namespace primus::train
