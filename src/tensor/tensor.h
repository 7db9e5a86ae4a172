#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/float16.h"

namespace primus {

namespace detail {
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::kU8;
};
}  // namespace detail

/// A view of memory that somebody else owns (an Arena, a mapped file): address, element type, shape (one or two
/// dimensions), and the distance between rows. Elements of a row are adjacent; rows may be further apart than their
/// length, so that a block of columns is a Tensor as well. A default Tensor is empty: "not there".
class Tensor {
 public:
  Tensor() = default;

  /// (size)
  Tensor(void* data, DType dtype, Device device, std::int64_t size)
      : data_(data), dtype_(dtype), device_(device), rank_(1), rows_(1), columns_(size), row_stride_(size) {}

  /// (rows, columns), `row_stride` elements from a row to the next
  Tensor(void* data, DType dtype, Device device, std::int64_t rows, std::int64_t columns, std::int64_t row_stride)
      : data_(data), dtype_(dtype), device_(device), rank_(2), rows_(rows), columns_(columns), row_stride_(row_stride) {
    PRIMUS_CHECK(row_stride >= columns, row_stride, columns);
  }

  bool empty() const { return rank_ == 0; }
  explicit operator bool() const { return rank_ != 0; }

  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int rank() const { return rank_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t row_stride() const { return row_stride_; }
  std::int64_t numel() const { return rank_ == 0 ? 0 : rows_ * columns_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  bool is_contiguous() const { return rows_ <= 1 || row_stride_ == columns_; }

  void* data() const { return data_; }

  /// The address as T*; T must be the element type.
  template <typename T>
  T* as() const {
    PRIMUS_CHECK(dtype_ == detail::DTypeOf<T>::value, name_of(dtype_), name_of(detail::DTypeOf<T>::value));
    return static_cast<T*>(data_);
  }

  /// Rows [begin, end) of a matrix; elements [begin, end) of a vector.
  Tensor slice(std::int64_t begin, std::int64_t end) const {
    PRIMUS_CHECK(rank_ != 0 && 0 <= begin && begin <= end && end <= (rank_ == 1 ? columns_ : rows_), begin, end, rows_,
                 columns_);
    if (rank_ == 1) return {offset(begin), dtype_, device_, end - begin};
    return {offset(begin * row_stride_), dtype_, device_, end - begin, columns_, row_stride_};
  }

  /// Columns [begin, end) of a matrix.
  Tensor columns(std::int64_t begin, std::int64_t end) const {
    PRIMUS_CHECK(rank_ == 2 && 0 <= begin && begin <= end && end <= columns_, begin, end, columns_);
    return {offset(begin), dtype_, device_, rows_, end - begin, row_stride_};
  }

  /// The same contiguous elements as a matrix, or as a vector.
  Tensor as_matrix(std::int64_t rows, std::int64_t columns) const {
    PRIMUS_CHECK(is_contiguous() && rows * columns == numel(), rows, columns, numel());
    return {data_, dtype_, device_, rows, columns, columns};
  }
  Tensor as_vector() const {
    PRIMUS_CHECK(is_contiguous(), rows_, columns_, row_stride_);
    return {data_, dtype_, device_, numel()};
  }

  /// "bf16 (8, 64)" for messages.
  std::string describe() const {
    if (rank_ == 0) return "empty";
    if (rank_ == 1) return fmt::format("{} ({})", name_of(dtype_), columns_);
    return fmt::format("{} ({}, {})", name_of(dtype_), rows_, columns_);
  }

 private:
  void* offset(std::int64_t elements) const {
    // integers, not pointers: while memory is only measured, the base address is null
    return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(data_) +
                                   static_cast<std::uintptr_t>(elements) * size_of(dtype_));
  }

  void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Device device_;
  int rank_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::int64_t row_stride_ = 0;
};

}  // namespace primus
