#include "model/offload.h"

#include <algorithm>

#include "base/error.h"

namespace primus::model {

Tensor OffloadedTensors::add(std::int64_t layer, const std::function<Tensor()>& make_place) {
  PRIMUS_CHECK(layers_.empty() || layers_.back() < layer, layer);
  Tensor& slot = slots_.at(layers_.size() % kSlots);
  if (!slot) slot = make_place();
  layers_.push_back(layer);
  slot_bytes_ = slot.bytes();
  return slot;
}

void OffloadedTensors::allocate(Device device) {
  if (leaving() > 0) copies_ = std::make_unique<Copies>(device, host_bytes());
}

std::size_t OffloadedTensors::number_of(std::int64_t layer) const {
  const auto at = std::lower_bound(layers_.begin(), layers_.end(), layer);
  return at != layers_.end() && *at == layer ? static_cast<std::size_t>(at - layers_.begin()) : layers_.size();
}

void OffloadedTensors::make_room(Stream& stream, std::int64_t layer) {
  const std::size_t number = number_of(layer);
  if (number < kSlots || number >= layers_.size()) return;  // the first ones find an empty slot
  copies_->done[number % kSlots].wait_on(stream);
}

void OffloadedTensors::send(Stream& stream, std::int64_t layer, const Tensor& tensor) {
  const std::size_t number = number_of(layer);
  if (number >= leaving()) return;
  copies_->ready.record(stream);
  copies_->ready.wait_on(copies_->stream);
  copies_->stream.copy_to_pinned(host_of(number), tensor);
  copies_->done[number % kSlots].record(copies_->stream);
}

void OffloadedTensors::await(Stream& stream, std::int64_t layer) {
  const std::size_t number = number_of(layer);
  if (number < leaving()) copies_->done[number % kSlots].wait_on(stream);
}

void OffloadedTensors::release(Stream& stream, std::int64_t layer, const Tensor& tensor) {
  const std::size_t number = number_of(layer);
  if (number < kSlots || number >= layers_.size()) return;  // nothing is left to come
  const std::size_t next = number - kSlots;
  copies_->ready.record(stream);
  copies_->ready.wait_on(copies_->stream);
  copies_->stream.copy_from_pinned(tensor, host_of(next));  // which takes the same place
  copies_->done[next % kSlots].record(copies_->stream);
}

void OffloadedActivations::allocate(Device device) {
  x.allocate(device);
  attention.allocate(device);
  lse.allocate(device);
}

void OffloadedActivations::make_room(Stream& stream, std::int64_t layer) {
  attention.make_room(stream, layer);
  lse.make_room(stream, layer);
}

void OffloadedActivations::send(Stream& stream, std::int64_t layer, const LayerActivations& activations) {
  x.send(stream, layer, activations.x);
  attention.send(stream, layer, activations.attention);
  lse.send(stream, layer, activations.lse);
}

void OffloadedActivations::await(Stream& stream, std::int64_t layer) {
  x.await(stream, layer);
  attention.await(stream, layer);
  lse.await(stream, layer);
}

void OffloadedActivations::release(Stream& stream, std::int64_t layer, const LayerActivations& activations) {
  x.release(stream, layer, activations.x);
  attention.release(stream, layer, activations.attention);
  lse.release(stream, layer, activations.lse);
}

}  // namespace primus::model
