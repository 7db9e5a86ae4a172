#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/layer.h"
#include "tensor/pinned.h"
#include "tensor/stream.h"

namespace primus::model {

/// Tensors, one a layer, that lie in host memory between a layer's forward and its backward pass. On the device they
/// take turns in kSlots places: while one layer computes, another's tensor leaves (forward) or comes back (backward),
/// on a stream of its own. All waiting is the device's, for events; the last kSlots tensors never leave. When forward
/// is over, everything has left, and when backward is over, everything has come: each can be recorded
/// (tensor/replay.h). Layers that were not added are none of its business: its verbs do nothing for them.
class OffloadedTensors {
 public:
  static constexpr std::size_t kSlots = 2;

  /// The place of the next layer's tensor; `make_place` takes one from the arena. Layers ascend.
  Tensor add(std::int64_t layer, const std::function<Tensor()>& make_place);
  bool has(std::int64_t layer) const { return number_of(layer) < layers_.size(); }

  /// What all of them take of the host's memory.
  std::size_t host_bytes() const { return leaving() * slot_bytes_; }
  /// Takes the host's memory, once, after the last add(). Throws Error (kHostLacks) when the host has not got it.
  void allocate(Device device);

  /// Forward: before the layer's tensor is written, and when it is there: the first rows of its place.
  void make_room(Stream& stream, std::int64_t layer);
  void send(Stream& stream, std::int64_t layer, const Tensor& tensor);

  /// Backward: before the layer's tensor is read, and when nobody reads it any more. It is as large as the others.
  void await(Stream& stream, std::int64_t layer);
  void release(Stream& stream, std::int64_t layer, const Tensor& tensor);

 private:
  struct Copies {
    Copies(Device device, std::size_t bytes) : stream(device), host(device, bytes), ready(device) {
      for (std::size_t slot = 0; slot < kSlots; ++slot) done.emplace_back(device);
    }
    Stream stream;
    PinnedMemory host;
    Event ready;              // the device is done with what is copied next, or with what that overwrites
    std::vector<Event> done;  // of each slot's last copy
  };

  /// How many tensors leave.
  std::size_t leaving() const { return layers_.size() > kSlots ? layers_.size() - kSlots : 0; }
  /// Its number among the tensors; layers_.size() for a layer that was not added.
  std::size_t number_of(std::int64_t layer) const;
  std::byte* host_of(std::size_t number) const { return copies_->host.data() + number * slot_bytes_; }

  std::vector<std::int64_t> layers_;
  std::array<Tensor, kSlots> slots_;
  std::size_t slot_bytes_ = 0;
  std::unique_ptr<Copies> copies_;  // when something leaves
};

/// What layers leave in host memory: their inputs, and attention's output with its statistics.
class OffloadedActivations {
 public:
  OffloadedTensors x, attention, lse;

  std::size_t host_bytes() const { return x.host_bytes() + attention.host_bytes() + lse.host_bytes(); }
  void allocate(Device device);
  /// Around a layer's forward pass (x: the layer before writes it, and so makes room for it), and around its backward
  /// pass.
  void make_room(Stream& stream, std::int64_t layer);
  void send(Stream& stream, std::int64_t layer, const LayerActivations& activations);
  void await(Stream& stream, std::int64_t layer);
  void release(Stream& stream, std::int64_t layer, const LayerActivations& activations);
};

}  // namespace primus::model
