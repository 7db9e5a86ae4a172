#pragma once

#include <cstdlib>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace primus::data {

/// A vector of plain values that grows by realloc: the C library moves large blocks by their page tables, so growing
/// never holds two copies.
template <typename T>
class GrowingArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  GrowingArray() = default;
  ~GrowingArray() { std::free(data_); }
  GrowingArray(const GrowingArray&) = delete;
  GrowingArray& operator=(const GrowingArray&) = delete;

  void append(std::span<const T> values) {
    reserve(size_ + values.size());
    for (const T& value : values) data_[size_++] = value;
  }
  void push_back(const T& value) {
    reserve(size_ + 1);
    data_[size_++] = value;
  }
  void append_all(const GrowingArray& other) { append(other.view()); }
  std::size_t size() const { return size_; }
  std::span<const T> view() const { return {data_, size_}; }

 private:
  void reserve(std::size_t size) {
    if (size <= capacity_) return;
    std::size_t capacity = capacity_ == 0 ? 1024 : capacity_ + capacity_ / 2;
    if (capacity < size) capacity = size;
    void* data = std::realloc(data_, capacity * sizeof(T));
    if (data == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(data);
    capacity_ = capacity;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace primus::data
