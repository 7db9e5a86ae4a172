#include "tensor/arena.h"

#include <utility>

namespace primus {
namespace {

constexpr std::size_t kAlignment = 256;

std::size_t align_up(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

const char* name_of(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kWeights:
      return "weights";
    case MemoryKind::kGradients:
      return "gradients";
    case MemoryKind::kOptimizer:
      return "optimizer";
    case MemoryKind::kActivations:
      return "activations";
    case MemoryKind::kLossHead:
      return "loss head";
    case MemoryKind::kWorkspace:
      return "workspace";
    case MemoryKind::kCommunication:
      return "communication";
  }
  return "?";
}

Arena::Arena(Device device, void* base, std::size_t capacity) : device_(device), base_(base), capacity_(capacity) {}

Arena Arena::measuring(Device device) { return {device, nullptr, 0}; }

Arena Arena::allocate(Device device, std::size_t bytes) {
  const std::size_t capacity = align_up(bytes == 0 ? 1 : bytes);
  return {device, backend(device.type).allocate(device.index, capacity), capacity};
}

Arena::~Arena() {
  if (base_ != nullptr) backend(device_.type).deallocate(device_.index, base_, capacity_);
}

Arena::Arena(Arena&& other) noexcept
    : device_(other.device_),
      base_(std::exchange(other.base_, nullptr)),
      capacity_(other.capacity_),
      used_(other.used_),
      peak_(other.peak_),
      live_(std::move(other.live_)),
      used_by_kind_(std::move(other.used_by_kind_)),
      peak_by_kind_(std::move(other.peak_by_kind_)),
      entries_(std::move(other.entries_)) {}

void* Arena::take(MemoryKind kind, const std::string& name, std::size_t bytes) {
  const std::size_t size = align_up(bytes);
  PRIMUS_CHECK(base_ == nullptr || used_ + size <= capacity_, name, used_, size, capacity_);
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(base_) + used_;
  used_ += size;
  used_by_kind_[kind] += size;
  live_.push_back({used_, kind, size});
  entries_.push_back({kind, name, size});
  if (used_ > peak_) {
    peak_ = used_;
    peak_by_kind_ = used_by_kind_;
  }
  return reinterpret_cast<void*>(address);
}

Tensor Arena::vector(MemoryKind kind, const std::string& name, DType dtype, std::int64_t size) {
  PRIMUS_CHECK(size >= 0, name, size);
  return {take(kind, name, static_cast<std::size_t>(size) * size_of(dtype)), dtype, device_, size};
}

Tensor Arena::matrix(MemoryKind kind, const std::string& name, DType dtype, std::int64_t rows, std::int64_t columns) {
  PRIMUS_CHECK(rows >= 0 && columns >= 0, name, rows, columns);
  return {take(kind, name, static_cast<std::size_t>(rows * columns) * size_of(dtype)),
          dtype,
          device_,
          rows,
          columns,
          columns};
}

void Arena::rewind(std::size_t mark) {
  PRIMUS_CHECK(mark <= used_, mark, used_);
  while (!live_.empty() && live_.back().end > mark) {
    used_by_kind_[live_.back().kind] -= live_.back().bytes;
    live_.pop_back();
  }
  used_ = mark;
}

}  // namespace primus
