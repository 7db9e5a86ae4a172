#include "tensor/stream.h"

#include <utility>

namespace primus {

Stream::Stream(Device device)
    : device_(device), backend_(&primus::backend(device.type)), handle_(backend_->create_stream(device.index)) {}

Stream::~Stream() {
  if (backend_ != nullptr) backend_->destroy_stream(device_.index, handle_);
}

Stream::Stream(Stream&& other) noexcept
    : device_(other.device_),
      backend_(std::exchange(other.backend_, nullptr)),
      handle_(std::exchange(other.handle_, nullptr)),
      observer_(other.observer_) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(backend_, other.backend_);
  std::swap(handle_, other.handle_);
  std::swap(observer_, other.observer_);
  return *this;
}

void Stream::synchronize() { backend_->synchronize(device_.index, handle_); }

void Stream::lend_workspace(const Tensor& workspace) {
  backend_->lend_workspace(device_.index, handle_, workspace.data(), workspace.bytes());
}

void Stream::set_deterministic(bool deterministic) {
  if (backend_->set_deterministic != nullptr) backend_->set_deterministic(device_.index, handle_, deterministic);
}

std::byte* Stream::stage(std::size_t bytes) {
  return static_cast<std::byte*>(backend_->stage(device_.index, handle_, bytes));
}

void Stream::copy_to_device(const Tensor& target, const void* host) {
  PRIMUS_CHECK(target.is_contiguous(), target.describe());
  backend_->copy_to_device(device_.index, handle_, target.data(), host, target.bytes());
}

void Stream::copy_to_host(void* host, const Tensor& source) {
  PRIMUS_CHECK(source.is_contiguous(), source.describe());
  backend_->copy_to_host(device_.index, handle_, host, source.data(), source.bytes());
}

void Stream::copy_to_pinned(std::byte* pinned, const Tensor& source) {
  PRIMUS_CHECK(source.is_contiguous(), source.describe());
  backend_->copy_to_pinned(device_.index, handle_, pinned, source.data(), source.bytes());
}

void Stream::copy_from_pinned(const Tensor& target, const std::byte* pinned) {
  PRIMUS_CHECK(target.is_contiguous(), target.describe());
  backend_->copy_from_pinned(device_.index, handle_, target.data(), pinned, target.bytes());
}

void Stream::copy(const Tensor& target, const Tensor& source) {
  PRIMUS_CHECK(target.is_contiguous() && source.is_contiguous() && target.bytes() == source.bytes(), target.describe(),
               source.describe());
  backend_->copy_on_device(device_.index, handle_, target.data(), source.data(), source.bytes());
}

void Stream::fill_zero(const Tensor& target) {
  PRIMUS_CHECK(target.is_contiguous(), target.describe());
  backend_->fill_zero(device_.index, handle_, target.data(), target.bytes());
}

std::size_t workspace_bytes(Device device) { return backend(device.type).workspace_bytes(device.index); }

Event::Event(Device device)
    : device_(device), backend_(&primus::backend(device.type)), handle_(backend_->create_event(device.index)) {}

Event::~Event() {
  if (handle_ != nullptr) backend_->destroy_event(device_.index, handle_);
}

Event::Event(Event&& other) noexcept
    : device_(other.device_), backend_(other.backend_), handle_(std::exchange(other.handle_, nullptr)) {}

void Event::record(Stream& stream) { backend_->record_event(device_.index, stream.handle(), handle_); }

void Event::wait_on(Stream& stream) { backend_->wait_event(device_.index, stream.handle(), handle_); }

double Event::seconds_until(const Event& later) const {
  return backend_->elapsed(device_.index, handle_, later.handle_);
}

}  // namespace primus
