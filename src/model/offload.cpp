#include "model/offload.h"

#include <algorithm>

#include "base/error.h"

namespace primus::model {

Tensor OffloadedInputs::add(std::int64_t layer, Arena& arena, DType dtype, std::int64_t tokens, std::int64_t hidden) {
  PRIMUS_CHECK(layers_.empty() || layers_.back() < layer, layer);
  Tensor& slot = slots_.at(layers_.size() % kSlots);
  if (!slot) {
    slot = arena.matrix(MemoryKind::kActivations, fmt::format("offloaded x, slot {}", layers_.size()), dtype, tokens,
                        hidden);
  }
  layers_.push_back(layer);
  slot_bytes_ = slot.bytes();
  return slot;
}

void OffloadedInputs::allocate(Device device) {
  if (leaving() > 0) copies_ = std::make_unique<Copies>(device, host_bytes());
}

std::size_t OffloadedInputs::number_of(std::int64_t layer) const {
  const auto at = std::lower_bound(layers_.begin(), layers_.end(), layer);
  return at != layers_.end() && *at == layer ? static_cast<std::size_t>(at - layers_.begin()) : layers_.size();
}

void OffloadedInputs::make_room(Stream& stream, std::int64_t layer) {
  const std::size_t number = number_of(layer);
  if (number < kSlots || number >= layers_.size()) return;  // the first ones find an empty slot
  copies_->done[number % kSlots].wait_on(stream);
}

void OffloadedInputs::send(Stream& stream, std::int64_t layer, const Tensor& input) {
  const std::size_t number = number_of(layer);
  if (number >= leaving()) return;
  copies_->ready.record(stream);
  copies_->ready.wait_on(copies_->stream);
  copies_->stream.copy_to_pinned(host_of(number), input);
  copies_->done[number % kSlots].record(copies_->stream);
}

void OffloadedInputs::await(Stream& stream, std::int64_t layer) {
  const std::size_t number = number_of(layer);
  if (number < leaving()) copies_->done[number % kSlots].wait_on(stream);
}

void OffloadedInputs::release(Stream& stream, std::int64_t layer, std::int64_t tokens) {
  const std::size_t number = number_of(layer);
  if (number < kSlots || number >= layers_.size()) return;  // nothing is left to come
  const std::size_t next = number - kSlots;
  copies_->ready.record(stream);
  copies_->ready.wait_on(copies_->stream);
  copies_->stream.copy_from_pinned(slots_.at(next % kSlots).slice(0, tokens), host_of(next));
  copies_->done[next % kSlots].record(copies_->stream);
}

}  // namespace primus::model
